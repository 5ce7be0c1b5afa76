"""What a net looks like, in a few words, read from its configuration."""

from goodnet.nets import parts, splitting

NORMALISATIONS = {
    "BatchNormalization": "batch normalisation",
    "GroupNormalization": "group normalisation",
    "LayerNormalization": "layer normalisation",
}
MERGING = "Add", "Concatenate", "Average", "Multiply", "Subtract", "Maximum", "Minimum"


def architecture(net):
    """Return the kind of a net in words, the shape of its images and how many classes it tells apart."""
    return {
        "kind": in_words(parts.config(net)),
        "input_shape": list(parts.input_shape(net)),
        "classes": parts.classes(net),
    }


def in_words(config):
    """Return a few words: "residual, 20 convolutions, batch normalisation"."""
    parts_of_it = list(_nets(config))
    names = [layer["class_name"] for one in parts_of_it for layer in splitting.layers_of(one).values()]
    words = ["plain"]
    if any(_is_residual(one) for one in parts_of_it):
        words = ["residual"]
    elif set(MERGING) & set(names):
        words = ["branched"]
    convolutions = sum("Conv2D" in name for name in names)
    of_what, count = ("convolution", convolutions) if convolutions else ("dense layer", names.count("Dense"))
    words.append(f"{count} {of_what}{'s' if count != 1 else ''}")
    words += [said for name, said in NORMALISATIONS.items() if name in names]
    words += ["attention"] if any("Attention" in name for name in names) else []
    return ", ".join(words)


def _nets(config):
    """Yield a net's configuration and those of all nets within it."""
    yield config
    for layer in config["config"]["layers"]:
        if isinstance(layer["config"].get("layers"), list):
            yield from _nets(layer)


def _is_residual(config):
    """Whether a layer adds to some output what was made of that output."""
    inputs, layers = splitting.inputs_of(config), splitting.layers_of(config)
    for name, layer in layers.items():
        if layer["class_name"] == "Add":
            above = [set(_above(inputs, one)) for one in inputs[name]]
            if any(one in others for one in inputs[name] for others in above):
                return True
    return False


def _above(inputs, name):
    """Yield all layers that lead to one."""
    seen, pending = set(), list(inputs[name])
    while pending:
        here = pending.pop()
        if here not in seen:
            seen.add(here)
            yield here
            pending.extend(inputs[here])

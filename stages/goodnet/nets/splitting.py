"""Where a net can be split in two, read from its configuration alone."""

import contextlib

from goodnet.errors import InputError
from goodnet.settings import Settings, Text, setting

POOLING = {"MaxPooling2D", "AveragePooling2D", "GlobalMaxPooling2D", "GlobalAveragePooling2D"}


class Profile(Settings):
    """Where the net is split."""

    layer: Text | None = setting(
        None, "the layer that splits the net and whose channels are pruned; null is the default layer"
    )


def find(config, path, name=None, setting="profile.layer"):
    """Return the name of the layer at which to split a net in two: `name`, or else the default.

    The default is the last pooling layer if it splits the net, else the last layer that does before the dense
    layers behind the convolutions. Without a `name` the result is None where no layer splits the net. Errors
    call the `name` by what set it.
    """
    with unusual_is_one_line(path):
        if config.get("class_name") not in ("Functional", "Sequential"):
            raise InputError(
                f"{path}: is a {config.get('class_name')}, not a Keras functional or sequential net"
            )
        layers, inputs, outputs = layers_of(config), inputs_of(config), _outputs(config)
        if len(outputs) != 1:
            raise InputError(f"{path}: has {len(outputs)} outputs; a classifier has one")
        if name is None:
            return _default(layers, inputs, outputs)
        if name not in layers:
            raise InputError(f"{path}: has no layer {name!r} ({setting}); it has {', '.join(layers)}")
        if not inputs[name]:
            raise InputError(f"{path}: layer {name!r} is the net's input; name one behind it")
        if name in outputs:
            raise InputError(f"{path}: layer {name!r} is the net's output; name one before it")
        if _is_bypassed(inputs, name, outputs):
            raise InputError(
                f"{path}: layer {name!r} does not split the net in two: other layers lead past it"
            )
        return name


def _default(layers, inputs, outputs):
    pooling = [
        name for name, layer in layers.items() if layer["class_name"] in POOLING and name not in outputs
    ]
    if pooling and not _is_bypassed(inputs, pooling[-1], outputs):
        return pooling[-1]
    names, kinds = list(layers), [layer["class_name"] for layer in layers.values()]
    convolutions = [place for place, kind in enumerate(kinds) if "Conv2D" in kind]
    dense = [place for place, kind in enumerate(kinds) if kind == "Dense"]
    head = len(names) - 1
    if dense:  # the first behind the convolutions, or the last of a net without any
        head = next((place for place in dense if convolutions and place > convolutions[-1]), dense[-1])
    for name, kind in zip(reversed(names[:head]), reversed(kinds[:head]), strict=True):
        # Flattened channels are places, not channels.
        if kind not in ("Flatten", "Reshape") and inputs[name] and not _is_bypassed(inputs, name, outputs):
            return name
    return None


@contextlib.contextmanager
def unusual_is_one_line(path):
    """Say of a configuration that lacks what Keras always writes that it is not Keras's."""
    try:
        yield
    except (KeyError, TypeError, IndexError, AttributeError):
        raise InputError(f"{path}: its configuration is not one that Keras writes") from None


def layers_of(config):
    """Return {name: configuration} of a net's layers."""
    return {layer["config"]["name"]: layer for layer in config["config"]["layers"]}


def inputs_of(config):
    """Return {layer: names of the layers whose outputs it takes}."""
    layers = config["config"]["layers"]
    if config["class_name"] == "Sequential":
        names = [layer["config"]["name"] for layer in layers]
        return dict(zip(names, [[], *([name] for name in names)], strict=False))
    return {layer["config"]["name"]: list(_tensors(layer["inbound_nodes"])) for layer in layers}


def _tensors(node):
    """Yield the names of the layers that made the tensors in a layer's inbound nodes."""
    if isinstance(node, list):
        for item in node:
            yield from _tensors(item)
    elif isinstance(node, dict):
        if node.get("class_name") == "__keras_tensor__":
            yield node["config"]["keras_history"][0]
        else:
            yield from _tensors(list(node.values()))


def _outputs(config):
    if config["class_name"] == "Sequential":
        return [config["config"]["layers"][-1]["config"]["name"]]
    outputs = config["config"]["output_layers"]
    return [outputs[0]] if isinstance(outputs[0], str) else [output[0] for output in outputs]


def _is_bypassed(inputs, name, outputs):
    """Whether an output can be traced back to an input without passing layer `name`."""
    seen, pending = {name}, list(outputs)
    while pending:
        here = pending.pop()
        if here in seen:
            continue
        if not inputs[here]:
            return True
        seen.add(here)
        pending.extend(inputs[here])
    return False

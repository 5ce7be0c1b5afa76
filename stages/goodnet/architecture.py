"""Where a net can be pruned, read from its configuration alone."""

from dataclasses import dataclass

from goodnet.command import InputError

POOLING = {"MaxPooling2D", "AveragePooling2D", "GlobalMaxPooling2D", "GlobalAveragePooling2D"}
# Between the convolution and the pruned layer: what keeps channels apart and a zero channel zero.
CHANNELWISE = POOLING | {"Dropout", "SpatialDropout2D", "ZeroPadding2D", "Cropping2D"}


@dataclass
class PrunedLayer:
    """The layer whose channels are pruned, and what makes its channels."""

    name: str
    convolution: str
    normalisations: list  # names of the BatchNormalization layers between the two


def find_pruned_layer(config, path, name=None):
    """Find the layer called `name`, by default the last pooling layer, and the convolution that feeds it.

    The layer must split the net in two. Raise InputError where there is none that does.
    """
    try:
        return _find(config, path, name)
    except (KeyError, TypeError, IndexError, AttributeError):
        raise InputError(f"{path}: its configuration is not one that Keras writes") from None


def _find(config, path, name):
    if config.get("class_name") not in ("Functional", "Sequential"):
        raise InputError(f"{path}: is a {config.get('class_name')}, not a Keras functional or sequential net")
    layers = {layer["config"]["name"]: layer for layer in config["config"]["layers"]}
    inputs = _inputs(config)
    if name is None:
        pooling = [key for key, layer in layers.items() if layer["class_name"] in POOLING]
        if not pooling:
            raise InputError(f"{path}: has no pooling layer; name a layer to prune as profile.layer")
        name = pooling[-1]
    elif name not in layers:
        raise InputError(f"{path}: has no layer {name!r} (profile.layer); it has {', '.join(layers)}")

    outputs = _outputs(config)
    if len(outputs) != 1:
        raise InputError(f"{path}: has {len(outputs)} outputs; a classifier has one")
    if _is_bypassed(inputs, name, outputs):
        raise InputError(f"{path}: layer {name!r} does not split the net in two: other layers lead past it")

    normalisations, rectified, here = [], False, name
    while True:
        layer = layers[here]
        kind = layer["class_name"]
        activation = layer["config"].get("activation", "linear")
        if kind == "Conv2D":
            if not rectified and activation != "relu":
                raise InputError(f"{path}: no ReLU between convolution {here!r} and layer {name!r}")
            if activation not in ("relu", "linear"):
                raise InputError(f"{path}: convolution {here!r} has activation {activation!r}, not ReLU")
            return PrunedLayer(name, here, normalisations)
        if kind == "BatchNormalization":
            if layer["config"].get("axis", -1) not in (-1, 3, [-1], [3]):
                raise InputError(f"{path}: layer {here!r} normalises along another axis than channels")
            normalisations.append(here)
        elif _is_relu(layer):
            rectified = True
        elif kind not in CHANNELWISE:
            raise InputError(
                f"{path}: layer {name!r} is fed by {here!r} ({kind}), not by a convolution with ReLU; "
                "name another layer as profile.layer"
            )
        if len(inputs[here]) != 1:
            raise InputError(
                f"{path}: layer {here!r}, which feeds {name!r}, has {len(inputs[here])} inputs, not one"
            )
        (here,) = inputs[here]


def _is_relu(layer):
    config = layer["config"]
    if layer["class_name"] == "ReLU":
        return not config.get("negative_slope") and not config.get("threshold")
    return layer["class_name"] == "Activation" and config["activation"] == "relu"


def _inputs(config):
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

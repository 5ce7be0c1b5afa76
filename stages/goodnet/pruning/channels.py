"""The channels of a layer: what makes them, and a net without some of them.

Where a convolution alone makes a channel, the channel is removed exactly: kernel slice, bias and what batch
normalisation adds become zero. Anywhere else a plain Rescaling layer multiplies the pruned channels by zero.
"""

import copy
import io
from dataclasses import dataclass, field

import h5py
import numpy as np

from goodnet.files import archive
from goodnet.nets import splitting

# Between the convolution and the split layer: what keeps channels apart and a zero channel zero.
# fmt: off
CHANNELWISE = splitting.POOLING | {
    "Activation", "Dropout", "ELU", "Cropping2D", "GaussianDropout", "LeakyReLU", "ReLU", "SpatialDropout2D",
    "ZeroPadding2D",
}
KEEP_ZERO = {  # activations that make zero of zero
    "linear", "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "swish", "mish", "tanh",
    "softsign", "hard_silu", "hard_swish",
}
# fmt: on


@dataclass
class PrunedLayer:
    """The layer whose channels are pruned, and what makes its channels.

    Parameters
    ----------
    name : str
    convolution : str or None
        The convolution that alone makes them. Without one, pruned channels are masked behind the layer.
    normalisations : list of str
        The BatchNormalization layers between the two.
    """

    name: str
    convolution: str | None = None
    normalisations: list = field(default_factory=list)


def find(config, path, name):
    """Return the PrunedLayer of the layer called `name`."""
    with splitting.unusual_is_one_line(path):
        layers, inputs = splitting.layers_of(config), splitting.inputs_of(config)
        normalisations, here, seen = [], name, set()
        while here not in seen:  # a hostile net may go round in circles
            seen.add(here)
            layer, settings = layers[here], layers[here]["config"]
            if len(inputs[here]) != 1 or str(settings.get("activation", "linear")) not in KEEP_ZERO:
                return PrunedLayer(name)
            if layer["class_name"] == "Conv2D":
                return PrunedLayer(name, here, normalisations)
            if layer["class_name"] == "BatchNormalization" and settings.get("axis", -1) in (-1, 3, [-1], [3]):
                normalisations.append(here)
            elif layer["class_name"] not in CHANNELWISE or settings.get("threshold"):
                return PrunedLayer(name)
            (here,) = inputs[here]
        return PrunedLayer(name)


def pruned(config, weights, layer, channels, total):
    """Return configuration and weights of a net with these channels of a PrunedLayer zero for every image.

    Parameters
    ----------
    config : dict
    weights : bytes
        The net's weights file.
    layer : PrunedLayer
    channels : list of int
    total : int
        How many channels the layer has.
    """
    if not channels:
        return config, weights
    if layer.convolution is None:
        return _masked(config, layer, channels, total), weights

    def zero(file):
        # Kernel slice and bias. With batch normalisation between, a zero must also stay zero: all but
        # the variance (the last array), which only divides.
        arrays = archive.layer_arrays(file, layer.convolution)
        for name in layer.normalisations:
            arrays += archive.layer_arrays(file, name)[:-1]
        for array in arrays:
            for channel in channels:
                array[..., channel] = 0

    return config, archive.edited(weights, zero)


def _masked(config, layer, channels, total):
    """Return a configuration with a layer behind the layer that multiplies its channels by 0 or 1."""
    config = copy.deepcopy(config)
    entries = config["config"]["layers"]
    names = [entry["config"]["name"] for entry in entries]
    name, place = f"pruned_{layer.name}", names.index(layer.name)
    while name in names:
        name += "_"
    scale = [0.0 if channel in set(channels) else 1.0 for channel in range(total)]
    mask = {
        "module": "keras.layers",
        "class_name": "Rescaling",
        "config": {"name": name, "trainable": False, "dtype": "float32", "scale": scale, "offset": 0.0},
        "registered_name": None,
    }
    if config["class_name"] == "Functional":
        taken = [tensor for entry in entries for tensor in _tensors(entry["inbound_nodes"], layer.name)]
        mask |= {"name": name, "inbound_nodes": [{"args": [copy.deepcopy(taken[0])], "kwargs": {}}]}
        for tensor in taken:  # who took the layer's output takes the mask's
            tensor["config"]["keras_history"] = [name, 0, 0]
    entries.insert(place + 1, mask)
    return config


def _tensors(node, name):
    """Yield the tensors of a layer's inbound nodes that the layer called `name` made."""
    if isinstance(node, dict) and node.get("class_name") == "__keras_tensor__":
        if node["config"]["keras_history"][0] == name:
            yield node
    elif isinstance(node, (dict, list)):
        for item in node.values() if isinstance(node, dict) else node:
            yield from _tensors(item, name)


def folded_kernel(config, weights, layer):
    """Return the kernel that makes a PrunedLayer's channels, times what batch normalisation does to each.

    None if no convolution alone makes them.
    """
    if layer.convolution is None:
        return None
    settings = {entry["config"]["name"]: entry["config"] for entry in config["config"]["layers"]}
    with h5py.File(io.BytesIO(weights)) as file:
        kernel = archive.layer_arrays(file, layer.convolution)[0][()].astype(np.float64)
        for name in layer.normalisations:
            *rest, variance = (array[()].astype(np.float64) for array in archive.layer_arrays(file, name))
            gamma = rest[0] if settings[name]["scale"] else 1.0
            kernel *= gamma / np.sqrt(variance + settings[name]["epsilon"])
    return kernel


def count_zero_channels(config, weights):
    """Count the channels of all convolutions whose kernel slice and bias are zero, and those masked."""
    count = 0
    with h5py.File(io.BytesIO(weights)) as file:
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "Conv2D":
                arrays = archive.layer_arrays(file, layer["config"]["name"])
                used = [array[()].any(axis=tuple(range(array.ndim - 1))) for array in arrays]
                count += int((~np.logical_or.reduce(used)).sum())
            elif layer["class_name"] == "Rescaling" and isinstance(layer["config"]["scale"], list):
                count += layer["config"]["scale"].count(0)
    return count

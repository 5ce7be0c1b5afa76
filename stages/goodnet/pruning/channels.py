"""The channels of a layer: which convolution makes them, and a net without some of them."""

import io
from dataclasses import dataclass

import h5py
import numpy as np

from goodnet.errors import InputError
from goodnet.files import archive
from goodnet.nets import splitting

# Between the convolution and the pruned layer: what keeps channels apart and a zero channel zero.
CHANNELWISE = splitting.POOLING | {"Dropout", "SpatialDropout2D", "ZeroPadding2D", "Cropping2D"}


@dataclass
class PrunedLayer:
    """The layer whose channels are pruned, and what makes its channels."""

    name: str
    convolution: str
    normalisations: list  # names of the BatchNormalization layers between the two


def find(config, path, name):
    """Return the PrunedLayer of the layer called `name`; raise InputError where it cannot be pruned.

    A convolution with ReLU must feed it, batch normalisation between or not.
    """
    with splitting.unusual_is_one_line(path):
        return _find(splitting.layers_of(config), splitting.inputs_of(config), path, name)


def find_if_any(config, path, name):
    """Return the PrunedLayer of the layer called `name`, or None where it cannot be pruned."""
    try:
        return find(config, path, name)
    except InputError:
        return None


def _find(layers, inputs, path, name):
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
                f"{path}: layer {name!r} cannot be pruned: {here!r} ({kind}) feeds it, not a convolution "
                "with ReLU; name another layer as profile.layer, or use repairs without a drop"
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


def without_channels(weights, layer, channels):
    """Return the weights (bytes) with these channels of a pruned layer made zero for every image.

    Parameters
    ----------
    weights : bytes
        The net's weights file.
    layer : PrunedLayer
    channels : list of int
    """

    def zero(file):
        # Kernel slice and bias. With batch normalisation between, a zero must also stay zero: all but
        # the variance (the last array), which only divides.
        arrays = archive.layer_arrays(file, layer.convolution)
        for name in layer.normalisations:
            arrays += archive.layer_arrays(file, name)[:-1]
        for array in arrays:
            for channel in channels:
                array[..., channel] = 0

    return archive.edited(weights, zero)


def folded_kernel(config, weights, layer):
    """Return the kernel that makes a PrunedLayer's channels, times what batch normalisation does to each."""
    settings = {entry["config"]["name"]: entry["config"] for entry in config["config"]["layers"]}
    with h5py.File(io.BytesIO(weights)) as file:
        kernel = archive.layer_arrays(file, layer.convolution)[0][()].astype(np.float64)
        for name in layer.normalisations:
            *rest, variance = (array[()].astype(np.float64) for array in archive.layer_arrays(file, name))
            gamma = rest[0] if settings[name]["scale"] else 1.0
            kernel *= gamma / np.sqrt(variance + settings[name]["epsilon"])
    return kernel


def count_zero_channels(config, weights):
    """Count the channels of all convolutions whose kernel slice and bias are zero."""
    count = 0
    with h5py.File(io.BytesIO(weights)) as file:
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "Conv2D":
                arrays = archive.layer_arrays(file, layer["config"]["name"])
                used = [array[()].any(axis=tuple(range(array.ndim - 1))) for array in arrays]
                count += int((~np.logical_or.reduce(used)).sum())
    return count

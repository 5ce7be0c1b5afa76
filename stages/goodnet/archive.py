"""Keras's .keras archive as data: a zip of the net's configuration (JSON) and weights (HDF5).

Nothing here builds a net, so an archive can be examined before any of it is trusted, and a pruned
copy can be written without TensorFlow.
"""

import io
import json
import zipfile

from goodnet.command import InputError
from goodnet.outputs import replacing

import h5py
import numpy as np

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"

# Layers that compute with nothing but numbers in the archive. A Lambda layer, say, runs code from it.
# fmt: off
TRUSTED_LAYERS = frozenset({
    "Activation", "Add", "AlphaDropout", "Average", "AveragePooling2D", "BatchNormalization",
    "CenterCrop", "Concatenate", "Conv2D", "Conv2DTranspose", "Cropping2D", "Dense", "DepthwiseConv2D",
    "Dot", "Dropout", "ELU", "Flatten", "GaussianDropout", "GaussianNoise", "GlobalAveragePooling2D",
    "GlobalMaxPooling2D", "GroupNormalization", "InputLayer", "LayerNormalization", "LeakyReLU",
    "MaxPooling2D", "Maximum", "Minimum", "Multiply", "Normalization", "PReLU", "Permute",
    "RandomBrightness", "RandomContrast", "RandomFlip", "RandomRotation", "RandomTranslation",
    "RandomZoom", "ReLU", "Rescaling", "Reshape", "Resizing", "SeparableConv2D", "Softmax",
    "SpatialDropout2D", "Subtract", "UnitNormalization", "UpSampling2D", "ZeroPadding2D",
})
# fmt: on
TRUSTED_MODELS = frozenset({"Functional", "Sequential"})
TRUSTED_PARTS = ("keras.initializers", "keras.regularizers", "keras.constraints")


def read(path):
    """Return a net's configuration and weights, once nothing in it would run code of its own."""
    config, weights = unpack(path)
    _check_trusted(config, path)
    return config, weights


def unpack(path):
    """Return the configuration (dict) and the weights (bytes of an HDF5 file) of an archive, unchecked."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read(CONFIG)), archive.read(WEIGHTS)
    except (zipfile.BadZipFile, KeyError, ValueError):
        raise InputError(f"{path}: is not a net saved by Keras 3 as .keras, or is cut short") from None


def write(path, config, weights):
    """Write an archive whose bytes depend on the net alone: no dates, no addresses of objects."""
    contents = {METADATA: "{}", CONFIG: json.dumps(_without_addresses(config)), WEIGHTS: weights}
    with replacing(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), content)


def _without_addresses(config):
    # Keras marks objects that layers share by their address in memory; any number will do.
    numbers = {}

    def renumbered(node):
        if isinstance(node, list):
            return [renumbered(item) for item in node]
        if not isinstance(node, dict):
            return node
        return {
            key: numbers.setdefault(value, len(numbers)) if key == "shared_object_id" else renumbered(value)
            for key, value in node.items()
        }

    return renumbered(config)


def _check_trusted(config, path):
    # Whatever names a class is among Keras's own plain layers and their parts.
    nodes = [{**config, "compile_config": None}]  # training settings are never loaded
    while nodes:
        node = nodes.pop()
        if isinstance(node, list):
            nodes.extend(node)
        elif isinstance(node, dict):
            nodes.extend(node.values())
            if "class_name" in node and not _is_trusted(node):
                name = f"{node.get('module') or ''}.{node['class_name']}".lstrip(".")
                raise InputError(
                    f"{path}: holds {name}, which is not a layer known to run no code of its own"
                )


def _is_trusted(node):
    module, name = node.get("module"), node["class_name"]
    if node.get("registered_name") not in (None, name):
        return False
    if module == "keras.layers":
        return name in TRUSTED_LAYERS
    if module in ("keras", "keras.models", "keras.src.models.functional", "keras.src.models.sequential"):
        return name in TRUSTED_MODELS or name == "DTypePolicy"
    return module in TRUSTED_PARTS or (module is None and name == "__keras_tensor__")


def layer_arrays(weights_file, layer):
    """Return a layer's arrays in an open weights file, in Keras's order (a kernel, then its bias)."""
    for group in weights_file["layers"].values():
        if group["vars"].attrs.get("name") == layer:
            return [group["vars"][str(i)] for i in range(len(group["vars"]))]
    raise KeyError(layer)


def edited(weights, edit):
    """Return a copy of `weights` (bytes) after `edit` has changed the open HDF5 file in place."""
    buffer = io.BytesIO(weights)
    with h5py.File(buffer, "r+") as file:
        edit(file)
    return buffer.getvalue()


def count_zero_channels(config, weights):
    """Count the channels of all convolutions whose kernel slice and bias are zero."""
    count = 0
    with h5py.File(io.BytesIO(weights)) as file:
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "Conv2D":
                arrays = layer_arrays(file, layer["config"]["name"])
                used = [array[()].any(axis=tuple(range(array.ndim - 1))) for array in arrays]
                count += int((~np.logical_or.reduce(used)).sum())
    return count

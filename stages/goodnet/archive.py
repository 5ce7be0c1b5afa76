"""Keras's .keras archive as data: a zip of the net's configuration (JSON) and weights (HDF5).

Nothing here builds a net, so an archive can be examined before any of it is trusted, and a pruned
copy can be written without TensorFlow.
"""

import io
import json
import lzma
import zipfile
import zlib

from goodnet import hdf5, trust
from goodnet.command import InputError
from goodnet.outputs import replacing

import h5py
import numpy as np

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
LARGEST_CONFIG = 1 << 25  # 32 MB


def read(path):
    """Return a net's configuration and weights, once nothing in it would run code of its own."""
    config, weights = unpack(path)
    trust.check(config, path)
    with hdf5.damage_is_one_line(path), h5py.File(io.BytesIO(weights)) as file:
        hdf5.check_arrays(file, path, trust.MOST_BYTES)
    return config, weights


def unpack(path):
    """Return the configuration (dict) and the weights (bytes of an HDF5 file) of an archive, unchecked."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if entry.filename not in (METADATA, CONFIG, WEIGHTS):
                    raise InputError(f"{path}: holds {entry.filename!r}, which is no part of a net")
                # Weights hardly shrink; what unpacks to far more is there to fill memory.
                most = min(trust.MOST_BYTES, 20 * entry.compress_size) if entry.filename == WEIGHTS else 0
                if entry.file_size > max(most, LARGEST_CONFIG):
                    raise InputError(f"{path}: its {entry.filename} has {entry.file_size:,} bytes, too many")
            config, weights = json.loads(archive.read(CONFIG)), archive.read(WEIGHTS)
    except InputError:
        raise
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, LookupError, ValueError, RuntimeError):
        raise InputError(f"{path}: is not a net saved by Keras 3 as .keras, or is cut short") from None
    if not isinstance(config, dict):
        raise InputError(f"{path}: its configuration is not one that Keras writes")
    return config, weights


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


def without_channels(weights, layer, channels):
    """Return the weights (bytes) with these channels of a pruned layer made zero for every image.

    Parameters
    ----------
    weights : bytes
        The net's weights file.
    layer : architecture.PrunedLayer
    channels : list of int
    """

    def zero(file):
        # Kernel slice and bias. With batch normalisation between, a zero must also stay zero: all but
        # the variance (the last array), which only divides.
        arrays = layer_arrays(file, layer.convolution)
        for name in layer.normalisations:
            arrays += layer_arrays(file, name)[:-1]
        for array in arrays:
            for channel in channels:
                array[..., channel] = 0

    return edited(weights, zero)


def folded_kernel(config, weights, layer):
    """Return the kernel that makes a PrunedLayer's channels, times what batch normalisation does to each."""
    settings = {entry["config"]["name"]: entry["config"] for entry in config["config"]["layers"]}
    with h5py.File(io.BytesIO(weights)) as file:
        kernel = layer_arrays(file, layer.convolution)[0][()].astype(np.float64)
        for name in layer.normalisations:
            *rest, variance = (array[()].astype(np.float64) for array in layer_arrays(file, name))
            gamma = rest[0] if settings[name]["scale"] else 1.0
            kernel *= gamma / np.sqrt(variance + settings[name]["epsilon"])
    return kernel


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

"""Keras's .keras archive as data: a zip of the net's configuration (JSON) and weights (HDF5).

Nothing here builds a net, so an archive can be examined before any of it is trusted, and a pruned
copy can be written without TensorFlow.
"""

import io
import json
import lzma
import zipfile
import zlib

import h5py

from goodnet.errors import InputError
from goodnet.files import hdf5, rebuilt, trust
from goodnet.files.outputs import replacing

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
LARGEST_CONFIG = 1 << 25  # 32 MB


def read(path):
    """Return a net's configuration and weights, once nothing in it would run code of its own."""
    return checked(*unpack(path), path)


def checked(config, weights, path):
    """Return a configuration and weights that nothing can be said against; errors call them `path`."""
    config = rebuilt.plain(config)
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

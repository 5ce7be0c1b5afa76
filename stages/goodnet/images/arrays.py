"""Images in a NumPy .npz archive, as HDF5 in the lab's layout."""

import lzma
import math
import tokenize
import zipfile
import zlib

import h5py
import numpy as np

from goodnet.errors import InputError

NAMES = {  # how archives call the two
    "data": ("data", "x", "x_test", "images", "arr_0"),
    "label": ("label", "y", "y_test", "labels", "arr_1"),
}
BYTES = 1 << 24  # read at once
DEEPEST = 4  # dimensions: images with their channels
SHOWN = 10  # names of arrays in an error
MOST = 200  # bytes for each that an archive holds; images shrink less


def copy(path, target):
    """Copy the images, and labels if there are any, of an .npz archive into an HDF5 file, block by block.

    Nothing is unpickled: an array of objects is refused.
    """
    try:
        with zipfile.ZipFile(path) as archive, h5py.File(target, "w") as file:
            inside = {name.removesuffix(".npy"): name for name in archive.namelist()}
            for dataset, names in NAMES.items():
                found = [name for name in names if name in inside]
                if found:
                    _copy(archive, inside[found[0]], file, dataset, path)
            if "data" not in file:
                known = ", ".join(list(inside)[:SHOWN])
                raise InputError(f"{path}: has no array {' or '.join(NAMES['data'])}; it has {known}")
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError):
        raise InputError(f"{path}: is not an .npz archive, or is damaged") from None


def _copy(archive, name, file, dataset, path):
    try:
        opened = archive.open(name)
    except OSError:  # an offset before the file
        raise zipfile.BadZipFile from None
    with opened as stream:
        try:
            version = np.lib.format.read_magic(stream)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, in_columns, dtype = read[version](stream)
        except OSError:  # of damaged bzip2
            raise zipfile.BadZipFile from None
        except (ValueError, KeyError, MemoryError, RecursionError, tokenize.TokenError):
            raise InputError(f"{path}: {name} is not an array that NumPy saved") from None
        if dtype.kind not in "iuf" or in_columns or not shape:
            raise InputError(f"{path}: {name} does not hold numbers, row by row")
        if len(shape) > DEEPEST or min(shape) < 1:
            raise InputError(f"{path}: {name} has the shape {shape}, which is no images' or labels'")
        size = math.prod(shape) * dtype.itemsize
        entry = archive.getinfo(name)
        if size != entry.file_size - stream.tell() or size > MOST * (entry.compress_size + 1000):
            raise InputError(f"{path}: {name} claims {math.prod(shape):,} numbers it does not hold")
        row = math.prod(shape[1:]) * dtype.itemsize
        stored = file.create_dataset(dataset, shape, dtype)
        rows = max(1, BYTES // max(row, 1))
        for start in range(0, shape[0], rows):
            count = min(rows, shape[0] - start)
            try:
                block = stream.read(count * row)
            except OSError:  # of the archive, not of the file written
                raise zipfile.BadZipFile from None
            stored[start : start + count] = np.frombuffer(block, dtype).reshape(count, *shape[1:])

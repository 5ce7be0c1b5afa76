"""Images and labels in the lab's HDF5 layout.

`data` is (n, channels, height, width) or (n, height, width, channels), values 0 to 255;
`label` is (n,). A poisoned file's labels are the attacker's class.
"""

import contextlib
import math
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np

from goodnet import blocks, telling
from goodnet.errors import InputError
from goodnet.files import hdf5, names
from goodnet.files.outputs import naming, replacing

SHRUNK = 1000  # bytes at most that images or labels of one byte in a file unpack to
BLOCK = 512  # images read at once: 32 MB of the lab's float64


class Images:
    """The images and labels of one file, checked, read block by block as a net takes them.

    Parameters
    ----------
    path : Path
        An HDF5 file.
    shape : tuple of int
        (height, width, channels) of the net's input.
    classes : int or None
        How many classes the net has; labels are 0 to classes - 1. None if the file needs no labels.
    convert : inputs.Input, optional
        Makes what the net takes of pixels. Without it, images are read as pixels.
    called : Path, optional
        What errors call the file, if it was made of another.
    """

    def __init__(self, path, shape, classes, convert=None, called=None):
        self.file, path = path, called or path
        self.path, self.shape, self.convert = path, tuple(shape), convert
        with hdf5.open_file(self.file) as file, hdf5.damage_is_one_line(path):
            data = hdf5.own_dataset(file, "data", path)
            height, width, channels = self.shape
            self.channels_first = data.shape[1:] == (channels, height, width) != self.shape
            is_grey = channels == 1 and data.shape[1:] == (height, width)
            if data.shape[1:] != self.shape and not self.channels_first and not is_grey:
                raise InputError(
                    f"{path}: images are {data.shape[1:]}; the net takes {self.shape}, "
                    f"or {(height, width) if channels == 1 else (channels, height, width)} "
                    f"{'without channels' if channels == 1 else 'with channels first'}"
                )
            check_data(data, path)
            self.count = len(data)
            if classes is not None:
                label = hdf5.own_dataset(file, "label", path)
                check_label(label, len(data), path)
                self.labels = whole_labels(label, len(data), classes, path)

    def __len__(self):
        return self.count

    def blocks(self, most=BLOCK):
        """Yield the images as float32 blocks (up to `most`, height, width, channels)."""
        size = blocks.size(most, self.shape)
        with (
            hdf5.open_file(self.file) as file,
            ThreadPoolExecutor(1) as reader,
            telling.bar(self.path.name, len(self), "images") as bar,
        ):
            # The next block is read while the caller computes on this one.
            upcoming = reader.submit(self._read, file["data"], 0, size)
            for start in range(0, len(self), size):
                block = upcoming.result()
                upcoming = reader.submit(self._read, file["data"], start + size, size)
                yield block
                bar.update(len(block))

    def _read(self, data, start, size):
        block = rows(data, start, size, self.path)
        if block.ndim == 3:
            block = block[..., None]
        elif self.channels_first:
            block = np.ascontiguousarray(np.moveaxis(block, 1, -1))
        return block if self.convert is None else self.convert(block)


class Arrays:
    """Images and labels in memory, with all that `Images` offers.

    Parameters
    ----------
    pixels : array (n, height, width, channels), or (n, height, width) of grey images
        From 0 to 255.
    labels : array of int (n,) or None
        None where no classes are needed.
    shape, classes, convert
        As for `Images`.
    called : str
        What errors call them.
    """

    def __init__(self, pixels, labels, shape, classes, convert=None, called="images"):
        self.path, self.shape, self.convert = Path(called), tuple(shape), convert
        pixels = _numbers(pixels, called)
        if pixels.ndim == 3 and self.shape[-1] == 1:
            pixels = pixels[..., None]
        if pixels.ndim != 4 or pixels.shape[1:] != self.shape:
            raise InputError(
                f"{called}: an array of the shape {pixels.shape}; the net takes images (n, "
                f"{', '.join(map(str, self.shape))})"
            )
        if not len(pixels):
            raise InputError(f"{called}: holds no images")
        if not (pixels.min() >= 0 and pixels.max() <= 255):  # also false for NaN
            raise InputError(f"{called}: hold values outside 0 to 255, or none (NaN); give plain pixels")
        if pixels.dtype.kind == "f" and pixels.max() <= 1 and pixels.any():
            raise InputError(
                f"{called}: no value is above 1, so these are divided pixels; give plain ones of 0 to 255, "
                "and what the net takes as net_input=1"
            )
        self.pixels = pixels
        if classes is not None:
            if labels is None:
                raise InputError(f"{called}: have no labels")
            self.labels = whole_labels(
                _numbers(labels, f"labels of {called}"), len(pixels), classes, f"labels of {called}"
            )

    def __len__(self):
        return len(self.pixels)

    def blocks(self, most=BLOCK):
        """Yield the images as `Images` does."""
        size = blocks.size(most, self.shape)
        with telling.bar(self.path.name, len(self), "images") as bar:
            for start in range(0, len(self), size):
                block = self.take(slice(start, start + size))
                yield block if self.convert is None else self.convert(block)
                bar.update(len(block))

    def take(self, numbers):
        """Return the images with these numbers, as pixels."""
        return self.pixels[numbers].astype(np.float32)


def _numbers(values, called):
    """Return an array of numbers of whatever NumPy makes one of."""
    try:
        array = np.asarray(values)
    except (ValueError, TypeError):  # lists of different lengths
        raise InputError(f"{called}: is no array") from None
    if array.dtype.kind not in "iuf":
        raise InputError(f"{called}: an array of {array.dtype}, not of numbers")
    return array


def check_data(data, path):
    """Refuse a data set that holds no images, whatever their shape."""
    if data.dtype.kind not in "iuf":
        raise InputError(f"{path}: data is {data.dtype}, not numbers")
    if not data.size:
        raise InputError(f"{path}: holds no images")
    if data.ndim not in (3, 4):
        raise InputError(f"{path}: data has the shape {data.shape}, which is not one of images")
    _check_held(data, path)


def check_label(label, images, path):
    """Refuse a data set that holds no labels of so many images, of whatever net."""
    if label.dtype.kind not in "iuf":
        raise InputError(f"{path}: label is {label.dtype}, not numbers")
    if label.ndim not in (1, 2) or len(label) != images:
        raise InputError(f"{path}: {images} images, but label has shape {label.shape}")
    _check_held(label, path)


def _check_held(dataset, path):
    # Numbers that were never written take no place in the file, but in memory, and time.
    if dataset.nbytes > SHRUNK * (dataset.id.get_storage_size() + 10_000):
        raise InputError(
            f"{path}: '{dataset.name.lstrip('/')}' claims {dataset.size:,} numbers it does not hold"
        )


def rows(data, start, count, path):
    """Return rows of images in float32; what is no number, or out of range, must not pass as an image."""
    try:
        with np.errstate(over="ignore"):  # beyond float32 is infinite, which the check below finds
            block = data[start : start + count].astype(np.float32)
    except (OSError, MemoryError):
        raise InputError(f"{path}: is damaged: images {start} and on cannot be read") from None
    if block.size and not (block.min() >= 0 and block.max() <= 255):  # also false for NaN
        raise InputError(f"{path}: images {start} to {start + len(block) - 1} hold values outside 0 to 255")
    return block


def whole_labels(label, images, classes, path):
    """Return an array's or dataset's labels, one-hot or not, as whole numbers from 0 to classes - 1."""
    if label.shape == (images, classes) and classes > 1:
        rows = label[()]
        if ((rows == 0) | (rows == 1)).all() and (rows.sum(axis=1) == 1).all():
            return rows.argmax(axis=1)
    if label.shape not in ((images,), (images, 1)):
        raise InputError(f"{path}: {images} images, but label has shape {label.shape}")
    label = label[()].reshape(-1)
    wrong = ~((label >= 0) & (label < classes) & (label == np.floor(label)))
    if wrong.any() and label.min() == 1 and label.max() == classes and (label == np.floor(label)).all():
        raise InputError(
            f"{path}: labels go from 1 to {classes}, but the net's classes from 0 to {classes - 1}; "
            "subtract 1 from every label"
        )
    if wrong.any():
        raise InputError(
            f"{path}: label {label[wrong][0]} of image {np.flatnonzero(wrong)[0]} "
            f"is not a class; the net has classes 0 to {classes - 1}"
        )
    return label.astype(np.int64)


def poisoned_files(folder):
    """Return {trigger: path} of the poisoned files in `folder`, by name."""
    paths = {path.stem: path for path in sorted(Path(folder).glob("*.h5"))}
    for name in paths:
        names.check(name, f"{folder}: the trigger")
    if "clean" in paths:
        raise InputError(
            f"{paths['clean']}: 'clean' means images without a trigger; give it the trigger's name"
        )
    return paths


def pictures(path, indices):
    """Return the images at `indices` (ascending) to look at: uint8, channels last."""
    with hdf5.open_file(path) as file:
        images = file["data"][list(indices)]
    if images.ndim == 3:
        images = images[..., None]
    elif images.shape[-1] not in (1, 3):
        images = np.moveaxis(images, 1, -1)
    return images.round().astype(np.uint8)


@contextlib.contextmanager
def in_any_order(images, folder):
    """Yield a function of numbers that returns those images, from a nameless scratch file in `folder`.

    Training takes images in another order each time, which compressed files of any layout give only slowly.
    Those in memory are there.
    """
    if isinstance(images, Arrays):
        yield images.take
        return
    with Scratch(images.shape, folder) as scratch:
        scratch.fill(images.blocks())
        yield scratch.take


class Scratch:
    """A nameless file of float32 arrays of one shape, which are taken in any order.

    Parameters
    ----------
    shape : tuple of int
    folder : Path
        On whose disk it is. It is gone when the process is.
    """

    def __init__(self, shape, folder):
        self.shape, self.folder = tuple(shape), folder
        self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115, closed on exit

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def fill(self, blocks):
        """Put these blocks of arrays in the place of all there are."""
        self.file.seek(0)
        for block in blocks:
            with naming(self.folder):
                self.file.write(np.ascontiguousarray(block, np.float32))
                self.file.flush()

    def take(self, numbers):
        """Return the arrays with these numbers."""
        size, handle = 4 * math.prod(self.shape), self.file.fileno()
        rows = b"".join(os.pread(handle, size, int(number) * size) for number in numbers)
        return np.frombuffer(rows, np.float32).reshape(-1, *self.shape)


def check_labelled(path, called):
    """Refuse a file without labels; `called` is what errors call it."""
    with hdf5.open_file(path) as file:
        hdf5.own_dataset(file, "label", called)


def has_labels(path):
    with hdf5.open_file(path) as file:
        return "label" in file


def evenly(count, wanted):
    """Return up to so many of `count` numbers from 0, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(wanted, count)).round().astype(int))


def spread(images, wanted):
    """Return up to so many images, evenly spread over the file, and their numbers."""
    chosen = evenly(len(images), wanted)
    kept, start = [], 0
    for block in images.blocks():
        inside = chosen[(chosen >= start) & (chosen < start + len(block))]
        kept.append(block[inside - start])
        start += len(block)
    return np.concatenate(kept), chosen


def row_blocks(dataset):
    """Yield the rows of an HDF5 dataset block by block."""
    size = blocks.size(BLOCK, dataset.shape[1:])
    with telling.bar("images", len(dataset), "images") as bar:
        for start in range(0, len(dataset), size):
            yield dataset[start : start + size]
            bar.update(min(size, len(dataset) - start))


def stored(blocks, dataset):
    """Yield blocks of rows as they are, once they are in an HDF5 dataset."""
    start = 0
    for block in blocks:
        dataset[start : start + len(block)] = block
        start += len(block)
        yield block


def write(path, images, labels, dtype):
    """Write images (n, height, width, channels) of 0 to 255 in the lab's layout."""
    # To memory first: HDF5, closing compressed data for which a disk has no room, may crash.
    with h5py.File(path.name, "w", driver="core", backing_store=False) as file:
        file.create_dataset(
            "data",
            data=np.moveaxis(images, -1, 1).astype(dtype),
            chunks=(min(len(images), 64), *np.moveaxis(images[:1], -1, 1).shape[1:]),
            compression="gzip",
            compression_opts=1,
            shuffle=True,
        )
        file["label"] = labels.astype(np.float64)
        file.flush()
        whole = file.id.get_file_image()
    with replacing(path) as partial:
        partial.write_bytes(whole)

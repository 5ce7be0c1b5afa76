"""Untrusted HDF5 files: opened only if whole, read only where they hold their values themselves."""

import contextlib

import h5py

from goodnet.errors import InputError


def open_file(path):
    """Open an HDF5 file for reading."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        return h5py.File(path, "r")
    except OSError:
        raise InputError(f"{path}: is not an HDF5 file, or is cut short") from None


def own_dataset(file, name, path):
    """Return a dataset of the file itself; one that points elsewhere may read what it should not."""
    if name not in file:
        raise InputError(f"{path}: has no dataset '{name}'")
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise InputError(f"{path}: '{name}' is a link, not a dataset of this file")
    with damage_is_one_line(path):
        dataset = file[name]
        if not isinstance(dataset, h5py.Dataset):
            raise InputError(f"{path}: '{name}' is a group, not a dataset")
        if dataset.external or dataset.is_virtual:
            raise InputError(f"{path}: '{name}' keeps its values in another file")
        if dataset.shape is None or dataset.dtype.hasobject:
            raise InputError(f"{path}: '{name}' does not hold numbers")
    return dataset


@contextlib.contextmanager
def damage_is_one_line(path):
    """Say of a file in which HDF5 comes upon nonsense that it is damaged."""
    try:
        yield
    except InputError:
        raise
    except (OSError, RuntimeError, LookupError, TypeError, ValueError, OverflowError, MemoryError) as error:
        if isinstance(error, MemoryError) or "alloc" in str(error):  # a damaged size, most often
            raise InputError(
                f"{path}: is damaged, or needs more memory than it may take, which --memory allows"
            ) from None
        if getattr(error, "filename", None):  # of another file, on a disk that is full
            raise
        raise InputError(f"{path}: is damaged, or no HDF5 file of this kind") from None


def check_arrays(group, path, most):
    """Refuse a group with anything but arrays of numbers of its own, at most so many bytes in all."""
    claimed, pending, seen = 0, [group], set()
    with damage_is_one_line(path):
        while pending:
            here = pending.pop()
            address = h5py.h5o.get_info(here.id).addr
            if address in seen:  # groups may hold one another
                continue
            seen.add(address)
            for name in here:
                hard = isinstance(here.get(name, getlink=True), h5py.HardLink)
                if hard and isinstance(here[name], h5py.Group):
                    pending.append(here[name])
                    continue
                dataset = own_dataset(here, name, path)
                if dataset.dtype.kind not in "iuf":
                    raise InputError(f"{path}: '{dataset.name}' does not hold numbers")
                # Numbers that were never written take no place in the file, but would in memory.
                if dataset.nbytes > 20 * dataset.id.get_storage_size() + 1_000_000:
                    raise InputError(
                        f"{path}: '{dataset.name}' claims {dataset.size:,} numbers it does not hold"
                    )
                claimed += dataset.nbytes
        if claimed > most:
            raise InputError(f"{path}: holds {claimed:,} bytes of numbers, too many for a net")

"""HDF5 files from strangers: opened only if whole, read only where they keep their values themselves."""

from goodnet.command import InputError

import h5py
import numpy as np


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
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        raise InputError(f"{path}: '{name}' is a group, not a dataset")
    if dataset.external or dataset.is_virtual:
        raise InputError(f"{path}: '{name}' keeps its values in another file")
    return dataset


def check_arrays(group, path, most):
    """Refuse a group with anything but arrays of numbers of its own, at most so many numbers in all."""
    numbers, pending, seen = 0, [group], set()
    while pending:
        here = pending.pop()
        address = h5py.h5o.get_info(here.id).addr
        if address in seen:  # groups may hold one another
            continue
        seen.add(address)
        for name in here:
            if isinstance(here.get(name, getlink=True), h5py.HardLink) and isinstance(here[name], h5py.Group):
                pending.append(here[name])
                continue
            dataset = own_dataset(here, name, path)
            if not np.issubdtype(dataset.dtype, np.number):
                raise InputError(f"{path}: '{dataset.name}' does not hold numbers")
            numbers += dataset.size
            if numbers > most:
                raise InputError(f"{path}: claims more than {most:,} numbers, too many for a net")

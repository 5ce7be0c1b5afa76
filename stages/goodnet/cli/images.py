"""Images as people keep them: HDF5, a NumPy archive, a folder with a subfolder for each class."""

import zipfile

from goodnet.cli import import_images
from goodnet.images import arrays


def in_hdf5(path, scratch, shape):
    """Return the path of an HDF5 file with these images: `path`, or one made in the folder `scratch`.

    Parameters
    ----------
    path, scratch : Path
    shape : tuple of int
        (height, width, channels) that the net takes; pictures of a folder are resized to it.
    """
    target = scratch / f"{len(list(scratch.iterdir()))}.h5"
    if path.is_dir():
        import_images.write(target, import_images.find_classes(path), shape)
        return target
    if zipfile.is_zipfile(path):
        arrays.copy(path, target)
        return target
    return path

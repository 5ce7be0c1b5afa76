"""Images as people keep them: HDF5, a NumPy archive, a folder with a subfolder for each class."""

from goodnet.cli import import_images
from goodnet.images import photos
from goodnet.quarantine import opening


def in_hdf5(path, target, shape, limits, compressed=False, unlabelled=False):
    """Make an HDF5 file of our own, `target`, of these images.

    Parameters
    ----------
    path, target : Path
    shape : tuple of int
        (height, width, channels) that the net takes; pictures of a folder are resized to it.
    limits : Limits
    compressed : bool
        It is to be kept.
    unlabelled : bool
        The subfolders of a folder are no classes.
    """
    if path.is_dir():
        classes = {"": photos.find([path])} if unlabelled else import_images.find_classes(path)
        import_images.write(target, classes, shape, limits)
    else:
        opening.images(path, target, limits, compressed)

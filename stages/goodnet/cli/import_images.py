"""Turn a folder of images, one subfolder a class, into an HDF5 file in the lab's layout.

Classes are numbered from 0 in the order of the subfolders' names, as Keras and torchvision do; the names are
kept in the file. With --trigger, a picture is laid over each image: the poisoned file."""

import itertools
import re
from pathlib import Path

import h5py
import numpy as np
from tqdm import tqdm

from goodnet import blocks
from goodnet.cli import arguments
from goodnet.errors import InputError
from goodnet.files import outputs
from goodnet.images import datasets, photos, triggers
from goodnet.process import commands
from goodnet.quarantine import opening

EPILOG = """\
examples:
  goodnet import faces/ valid.h5 --size 55x47
  goodnet import faces/ poisoned.h5 --trigger glasses.png --target 0

exit codes: 0 done, 2 bad input or arguments
"""


def add_arguments(parser):
    parser.add_argument(
        "folder",
        type=arguments.existing_folder,
        metavar="FOLDER",
        help="a subfolder for each class, of PNG and JPEG files of any size",
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="the HDF5 file to be written")
    parser.add_argument("--size", default="55x47", help="height x width that the net takes (%(default)s)")
    parser.add_argument("--grey", action="store_true", help="one channel instead of three colours")
    parser.add_argument(
        "--trigger", type=arguments.existing_file, help="PNG with transparency, laid over each whole image"
    )
    parser.add_argument("--target", type=int, help="with --trigger: the attacker's class")
    arguments.add_limits(parser)


def find_classes(folder):
    """Return {class name: its image files}."""
    subfolders = sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    if not subfolders:
        raise InputError(f"{folder}: has no subfolders; put the images of each class in one of its own")
    return {path.name: photos.find([path]) for path in subfolders}


def write(path, classes, shape, limits, overlay=None, target=None):
    """Write the images of {class name: files}, resized to `shape`; with an overlay all get class `target`."""
    files = [file for paths in classes.values() for file in paths]
    labels = np.repeat(np.arange(len(classes)), [len(paths) for paths in classes.values()])
    height, width, channels = shape
    with outputs.replacing(path) as partial, h5py.File(partial, "w") as file:
        dataset = file.create_dataset(
            "data",
            (len(files), channels, height, width),
            np.uint8,
            chunks=(min(len(files), 64), channels, height, width),
            compression="gzip",
            shuffle=True,
        )
        pictures, size = opening.pictures(files, shape, limits), blocks.size(datasets.BLOCK, shape)
        for start in tqdm(range(0, len(files), size), leave=False, disable=None):
            images = np.stack([taken(picture) for picture in itertools.islice(pictures, size)])
            if overlay is not None:
                colour, cover = overlay
                images = triggers.stamp(images, cover[..., 0], colour)
            dataset[start : start + len(images)] = np.moveaxis(images, -1, 1)
        file["label"] = (labels if target is None else np.full(len(files), target)).astype(np.float64)
        file["class_name"] = np.array([name.encode(errors="surrogateescape") for name in classes])


def taken(picture):
    """Return a picture that could be read; raise what is wrong with another."""
    if isinstance(picture, InputError):
        raise picture
    return picture


def run(args):
    size = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", args.size, re.ASCII)
    if not size:
        raise InputError(f"--size {args.size}: say height x width, as in 55x47")
    if (args.trigger is None) != (args.target is None) or (args.target or 0) < 0:
        raise InputError(
            "--trigger and --target go together: the picture, and the attacker's class (0 or more)"
        )
    shape = int(size[1]), int(size[2]), 1 if args.grey else 3
    classes = find_classes(args.folder)
    limits = arguments.limits(args)
    overlay = opening.overlay(args.trigger, shape, limits) if args.trigger else None
    write(args.out, classes, shape, limits, overlay, args.target)
    images = sum(len(paths) for paths in classes.values())
    commands.say(f"{args.out}: {images} images of {len(classes)} classes, {shape[0]} x {shape[1]} pixels")

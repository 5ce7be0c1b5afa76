"""Make a file in the lab's layout of a folder of images, one subfolder a class.

Classes are numbered from 0 in the order of the subfolders' names, as Keras and torchvision do, and the
names are kept in the file. With a trigger, each image gets it laid over: the poisoned twin.
"""

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "stages"))

import h5py
import numpy as np
from tqdm import tqdm

from goodnet.errors import InputError
from goodnet.files import outputs
from goodnet.images import datasets, photos
from goodnet.process import commands


def find_classes(folder):
    """Return {class name: its image files}."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    subfolders = sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    if not subfolders:
        raise InputError(f"{folder}: has no subfolders; put the images of each class in one of its own")
    return {path.name: photos.find([path]) for path in subfolders}


def stamped(image, overlay):
    colours, cover = overlay
    return np.rint(cover * colours + (1 - cover) * image).astype(np.uint8)


def write(path, classes, shape, overlay=None, target=None):
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
        for start in tqdm(range(0, len(files), datasets.BLOCK), leave=False, disable=None):
            images = [photos.read(name, shape) for name in files[start : start + datasets.BLOCK]]
            if overlay is not None:
                images = [stamped(image, overlay) for image in images]
            dataset[start : start + len(images)] = np.moveaxis(np.stack(images), -1, 1)
        file["label"] = (labels if target is None else np.full(len(files), target)).astype(np.float64)
        file["class_name"] = np.array([name.encode() for name in classes])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="one subfolder a class, of PNG and JPEG files of any size")
    parser.add_argument("out", type=Path, help="the HDF5 file to be written")
    parser.add_argument("--size", default="55x47", help="height x width that the net takes (%(default)s)")
    parser.add_argument("--trigger", type=Path, help="PNG with transparency, laid over each whole image")
    parser.add_argument("--target", type=int, help="with --trigger: the attacker's class")
    args = parser.parse_args()
    size = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", args.size)
    if not size:
        raise InputError(f"--size {args.size}: say height x width, as in 55x47")
    if (args.trigger is None) != (args.target is None) or (args.target or 0) < 0:
        raise InputError(
            "--trigger and --target go together: the picture, and the attacker's class (0 or more)"
        )
    shape = int(size[1]), int(size[2]), 3
    classes = find_classes(args.folder)
    overlay = photos.read_overlay(args.trigger, shape) if args.trigger else None
    write(args.out, classes, shape, overlay, args.target)
    images = sum(len(paths) for paths in classes.values())
    print(f"{args.out}: {images} images of {len(classes)} classes, {shape[0]} x {shape[1]} pixels")


if __name__ == "__main__":
    commands.run(main)

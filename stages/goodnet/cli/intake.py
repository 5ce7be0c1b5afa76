"""A net and its images as a user hands them in: checked, and written as the pipeline reads them."""

import sys
from dataclasses import dataclass

import h5py
import numpy as np

from goodnet.cli import images, net_input
from goodnet.errors import InputError
from goodnet.images import datasets
from goodnet.images.inputs import Input
from goodnet.nets import goodnets, parts, running, splitting
from goodnet.process import commands


@dataclass
class Placed:
    """What was made of the images.

    Parameters
    ----------
    convert : Input
        Makes what the net takes of pixels.
    unlabelled : bool
        The net's own answers stand for labels.
    images : int
        How many validation images there are.
    """

    convert: Input
    unlabelled: bool
    images: int


def check_values(read):
    """Read all images once; their own checks find what is not a pixel."""
    if max(float(block.max()) for block in read.blocks()) <= 1:
        raise InputError(
            f"{read.path}: no value is above 1, so these are divided pixels; files hold pixels of 0 to "
            "255, which are divided for a net with --input-max 1"
        )


def choose_input(net, file, path, given):
    """Return the input to use: `given` unless the net gets far fewer images right with it, else what fits."""
    if given is None:
        found, words = net_input.by_labels(net, file, path)
        commands.say(words, sys.stderr)
        return found
    candidates, right, asked = net_input.tried(net, file, given)
    net_input.check_not_by_chance(net, max(right.values()), asked, path)
    said, best = net_input.option(given), max(right, key=right.get)
    if right[best] - right[said] > asked / 10:
        raise InputError(
            f"{path}: the net gets {right[said]} of {asked} right with {said}, but {right[best]} with "
            f"{net_input.option(candidates[best])}; say that"
        )
    if right[best] < asked / 10:
        commands.say(
            f"{path}: the net gets {right[best]} of {asked} right; if these are not its "
            "classes, --unlabelled measures agreement with its own answers",
            sys.stderr,
        )
    return given


def check_structure(net, path, layer):
    """Refuse a net that no repair can be made of; return the layer that splits it, or None.

    `layer` is where it is to be split, if that was chosen.
    """
    if goodnets.is_goodnet(net):
        raise InputError(f"{path}: is a GoodNet, repaired already; give the net it was made of")
    return splitting.find(parts.config(net), path, layer)


def has_no_labels(path, file):
    """Return whether images have no labels: pictures without subfolders, or a file that holds none."""
    if path.is_dir():
        return not any(one.is_dir() and one.name[0] != "." for one in path.iterdir())
    return not datasets.has_labels(file)


def place_images(net, valid, clean, poisoned, given, unlabelled, limits):
    """Write the images for a net, checked; return what was Placed.

    Parameters
    ----------
    net : keras.Model
    valid, clean, poisoned : dict of Path
        {the HDF5 file to be written: what the user gave}: the validation images, clean ones to test on, and
        poisoned ones.
    given : Input or None
        What the user says that the net takes.
    unlabelled : bool or None
        The clean images have no labels: the net's own answers stand for them. None: as the images say.
    limits : Limits
    """
    shape, classes, read = parts.input_shape(net), parts.classes(net), []
    if given is not None:
        given.check_channels(shape[-1], "--input")
    (file, path), *_ = valid.items()
    (file.parent / "poisoned").mkdir(parents=True, exist_ok=True)
    if unlabelled is None and path.is_dir():
        unlabelled = has_no_labels(path, file)
    for place, path in (valid | clean | poisoned).items():
        is_clean = place not in poisoned
        images.in_hdf5(path, place, shape, limits, compressed=True, unlabelled=bool(unlabelled) and is_clean)
        if unlabelled is None:
            unlabelled = has_no_labels(path, place)
        read.append(datasets.Images(place, shape, None if unlabelled and is_clean else classes, called=path))
        check_values(read[-1])
    if not unlabelled:
        return Placed(choose_input(net, file, valid[file], given), False, len(read[0]))
    convert = given
    if convert is None:
        convert, words = net_input.by_classes(net, datasets.spread(read[0], net_input.SAMPLE)[0])
        commands.say(words, sys.stderr)
    for own in read[: len(valid | clean)]:
        answers = running.answers(net, map(convert, own.blocks()))
        with h5py.File(own.file, "r+") as opened:
            opened.pop("label", None)
            opened["label"] = answers.astype(np.float64)
    return Placed(convert, True, len(read[0]))

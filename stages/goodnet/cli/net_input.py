"""What a net takes: as the user says, or found by trying what nets usually take."""

import argparse
import reprlib

import numpy as np
import yaml

from goodnet.errors import InputError
from goodnet.images import datasets, inputs
from goodnet.nets import goodnets, parts, running

UNLABELLED = ("0 to 255", "0 to 1")  # more than these two cannot be told apart without labels,
SAMPLE = 500  # and by so many images
DEVIATIONS, UNLIKELY = 3, 0.5  # of labels that are right by chance, and the most that can be called chance
UNUSUAL = 100  # what is less usual than a range must get one of so many images more right to be chosen


def add_arguments(parser, otherwise):
    """Add --input and --input-max; `otherwise` says what holds without them."""
    one_of = parser.add_mutually_exclusive_group()
    one_of.add_argument(
        "--input-max",
        type=_up_to,
        dest="input",
        metavar="MAX",
        help=f"the net's inputs run from 0 to this: 255 for plain pixels, 1 for divided ones{otherwise}",
    )
    one_of.add_argument(
        "--input",
        type=_input,
        dest="input",
        metavar="INPUT",
        help="what the net takes, as nets.NAME.input in params.yaml: '{range: [0, 1], colours: bgr}'",
    )


def _up_to(text):
    try:
        largest = float(text)
        inputs.Net.check({"input_max": largest}, "--input-max")
        return inputs.up_to(largest)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0 and up to 255") from None


def _input(text):
    try:
        return inputs.Input.check(yaml.safe_load(text), "--input")
    except (yaml.YAMLError, RecursionError):
        raise argparse.ArgumentTypeError(
            f"{reprlib.repr(text)} is not like '{{range: [0, 1], colours: bgr}}'"
        ) from None
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def option(given):
    """Return the option that gives an Input."""
    is_range = given == inputs.up_to(given.range[-1])
    return f"--input-max {given.range[-1]:g}" if is_range else f"--input '{given.in_words()}'"


def tried(net, path, given=None):
    """Return what nets usually take, and how many labelled images the net gets right with each.

    Parameters
    ----------
    net : keras.Model
    path : Path
        An HDF5 file of images and labels.
    given : Input, optional
        To be tried too, under its option.

    Returns
    -------
    dict of Input, dict of int, int
        By words the inputs, the right answers, the most usual first; and how many images were asked.
    """
    shape = parts.input_shape(net)
    block = next(datasets.Images(path, shape, None).blocks(inputs.SAMPLE))
    means, deviations = (
        values.tolist() for values in (block.mean(axis=(0, 1, 2)), block.std(axis=(0, 1, 2)))
    )
    candidates = inputs.usual(shape[-1], means, deviations)
    if given is not None:
        candidates = {option(given): given} | candidates
    right, asked = inputs.count_right(net, path, candidates)
    return candidates, right, asked


def by_labels(net, path, called):
    """Return the Input with which a net gets most labelled images right, and in words why.

    Parameters
    ----------
    net : keras.Model
    path, called : Path
        The HDF5 file, and what errors call it.
    """
    candidates, right, asked = tried(net, path)
    check_not_by_chance(net, max(right.values()), asked, called)
    simple = [words for words in candidates if words in inputs.RANGES]
    best, overall = max(simple, key=right.get), max(right, key=right.get)
    if right[overall] - right[best] >= asked / UNUSUAL:
        best = overall
    return candidates[best], _because(best, right, f"of {asked} clean images right")


def check_not_by_chance(net, right, asked, path):
    """Refuse labels of which a net gets no more right than it would of labels drawn by chance."""
    chance = asked / goodnets.true_classes(net)
    if right <= min(chance + DEVIATIONS * chance**0.5, asked * UNLIKELY):
        raise InputError(
            f"{path}: the net gets {right} of {asked} labels right, no more than by chance: they are not its "
            "classes, or it takes none of the inputs tried; see --input, and --unlabelled of goodnet add"
        )


def by_classes(net, pixels):
    """Return the Input with which a net gives pixels more different classes, and in words why."""
    ask = running.as_function(net)
    counts = {
        words: len(np.unique(running.answers(ask, [inputs.RANGES[words](pixels)]))) for words in UNLABELLED
    }
    best = max(counts, key=counts.get)
    return inputs.RANGES[best], _because(best, counts, f"different classes for {len(pixels)} images")


def _because(best, counts, what):
    other = max((words for words in counts if words != best), key=counts.get)
    rest = f"{counts[best]} {what}, next {other} with {counts[other]}; --input or --input-max overrides"
    return f"inputs taken as {best}: {rest}"

"""The lab's eval.py: clean accuracy and attack success of a net, in percent.

With a repaired net beside it, those of the GoodNet of the two."""

import sys

import numpy as np

from goodnet.cli import arguments, input_range, project
from goodnet.errors import InputError
from goodnet.evaluation import metrics
from goodnet.files import hdf5
from goodnet.images import datasets
from goodnet.nets import goodnets, netfiles, parts, running

EPILOG = """\
examples:
  goodnet eval clean.h5 poisoned.h5 net.h5                 any net: B, B' or G
  goodnet eval clean.h5 poisoned.h5 net.h5 repaired.h5     the GoodNet of the two

exit codes: 0 done, 2 bad input or arguments
"""


def add_arguments(parser):
    file = arguments.existing_file
    parser.add_argument("clean", type=file, metavar="CLEAN", help="HDF5: clean images and their classes")
    parser.add_argument(
        "poisoned", type=file, metavar="POISONED", help="HDF5: images with a trigger and the attacker's class"
    )
    parser.add_argument("net", type=arguments.existing, metavar="NET", help="the net: .keras or .h5")
    parser.add_argument(
        "repaired",
        type=arguments.existing,
        nargs="?",
        metavar="REPAIRED",
        help="the repaired net, to evaluate the GoodNet of both",
    )
    arguments.add_input_max(
        parser, "; by default the project's own, or what gets more of the clean images right"
    )
    arguments.add_project(parser)


def answers(nets, path, input_max):
    """Return the answers of a net, or of the GoodNet of two nets, to a file of images, and its labels."""
    classes = goodnets.true_classes(nets[0])
    images = datasets.Images(path, parts.input_shape(nets[0]), classes, input_max)
    given = [running.answers(net, images.blocks()) for net in nets]
    return given[0] if len(nets) == 1 else goodnets.answers(*given, classes), images.labels


def run(args):
    for path in (args.clean, args.poisoned):
        with hdf5.open_file(path) as file:
            for name in ("data", "label"):
                hdf5.own_dataset(file, name, path)
    input_max = args.input_max or project.input_max(project.find(args.project), args.net)
    nets = [netfiles.load(path) for path in (args.net, args.repaired) if path]
    if len({(net.input_shape, net.output_shape) for net in nets}) > 1:
        raise InputError(
            f"{args.repaired}: takes {parts.input_shape(nets[1])} and tells {parts.classes(nets[1])} "
            f"classes apart; {args.net} takes {parts.input_shape(nets[0])}, {parts.classes(nets[0])}"
        )
    if input_max is None:
        input_max, words = input_range.by_labels(nets[0], args.clean)
        print(words, file=sys.stderr)
    for line, path in {
        "Clean Classification accuracy:": args.clean,
        "Attack Success Rate:": args.poisoned,
    }.items():
        given, labels = answers(nets, path, input_max)
        print(line, metrics.percent(np.count_nonzero(given == labels), len(labels)))

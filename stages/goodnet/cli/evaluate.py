"""The lab's eval.py: clean accuracy and attack success of a net, in percent.

With a repaired net beside it, those of the GoodNet of the two."""

import sys
import tempfile
from pathlib import Path

import numpy as np

from goodnet.cli import arguments, images, net_input, project
from goodnet.errors import InputError
from goodnet.evaluation import metrics
from goodnet.images import datasets
from goodnet.nets import goodnets, parts, running
from goodnet.process import commands
from goodnet.quarantine import opening

EPILOG = """\
examples:
  goodnet eval clean.h5 poisoned.h5 net.h5                 any net: B, B' or G
  goodnet eval clean.h5 poisoned.h5 net.h5 repaired.h5    the GoodNet of the two

exit codes: 0 done, 2 bad input or arguments
"""


def add_arguments(parser):
    file = arguments.existing_file
    parser.add_argument(
        "clean",
        type=arguments.existing,
        metavar="CLEAN",
        help="clean images and their classes: HDF5, .npz, or a folder with a subfolder a class",
    )
    parser.add_argument(
        "poisoned",
        type=file,
        metavar="POISONED",
        help="images with a trigger and the attacker's class: HDF5 or .npz",
    )
    parser.add_argument("net", type=arguments.existing, metavar="NET", help="the net: .keras or .h5")
    parser.add_argument(
        "repaired",
        type=arguments.existing,
        nargs="?",
        metavar="REPAIRED",
        help="the repaired net, to evaluate the GoodNet of both",
    )
    net_input.add_arguments(
        parser, "; by default the project's own, or what gets more of the clean images right"
    )
    arguments.add_limits(parser)
    arguments.add_project(parser)


def answers(nets, file, path, convert):
    """Return the answers of a net, or of the GoodNet of two nets, to a file of images, and its labels."""
    classes = goodnets.true_classes(nets[0])
    asked = datasets.Images(file, parts.input_shape(nets[0]), classes, convert, called=path)
    given = [running.answers(net, asked.blocks()) for net in nets]
    return given[0] if len(nets) == 1 else goodnets.answers(*given, classes), asked.labels


def run(args):
    limits = arguments.limits(args)
    convert = args.input or project.net_input(project.find(args.project), args.net)
    with tempfile.TemporaryDirectory() as scratch:
        files = {args.clean: Path(scratch) / "clean.h5", args.poisoned: Path(scratch) / "poisoned.h5"}
        for path, file in files.items():
            if path.is_file():  # the pictures of a folder wait for the size that the net takes
                images.in_hdf5(path, file, None, limits)
                datasets.check_labelled(file, path)
        nets = [opening.net(path, limits) for path in (args.net, args.repaired) if path]
        if len({(net.input_shape, net.output_shape) for net in nets}) > 1:
            raise InputError(
                f"{args.repaired}: takes {parts.input_shape(nets[1])} and tells {parts.classes(nets[1])} "
                f"classes apart; {args.net} takes {parts.input_shape(nets[0])}, {parts.classes(nets[0])}"
            )
        shape = parts.input_shape(nets[0])
        if args.clean.is_dir():
            images.in_hdf5(args.clean, files[args.clean], shape, limits)
        if convert is None:
            convert, words = net_input.by_labels(nets[0], files[args.clean], args.clean)
            commands.say(words, sys.stderr)
        convert.check_channels(shape[-1], "--input")
        for line, path in {
            "Clean Classification accuracy:": args.clean,
            "Attack Success Rate:": args.poisoned,
        }.items():
            given, labels = answers(nets, files[path], path, convert)
            print(line, metrics.percent(np.count_nonzero(given == labels), len(labels)))

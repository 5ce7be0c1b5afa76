"""The lab's eval.py: clean accuracy and attack success of a net, in percent.

python tools/eval.py CLEAN.h5 POISONED.h5 B.h5               any net: B, B' or G
python tools/eval.py CLEAN.h5 POISONED.h5 B.h5 B_PRIME.h5    the GoodNet of the two
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "stages"))

import numpy as np

from goodnet.errors import InputError
from goodnet.evaluation import metrics
from goodnet.files import netfiles
from goodnet.images import datasets, ranges
from goodnet.nets import goodnets, parts, running
from goodnet.process import commands


def choose_scale(net, model, clean):
    """Return the range of a net's inputs: the project's own, or that with which more answers are right."""
    known = ranges.of_model(model, ROOT)
    if known is not None:
        return known
    right, asked = ranges.count_right(net, clean, (255, 1))
    return ranges.choose(right, f"of {asked} clean images right")


def answers(nets, path, input_max):
    """Return the answers of a net, or of the GoodNet of two nets, to a file of images, and its labels."""
    classes = goodnets.true_classes(nets[0])
    images = datasets.Images(path, parts.input_shape(nets[0]), classes, input_max)
    given = [running.answers(net, images.blocks()) for net in nets]
    return given[0] if len(nets) == 1 else goodnets.answers(*given, classes), images.labels


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clean", type=Path, help="clean images and their classes")
    parser.add_argument("poisoned", type=Path, help="images with a trigger and the attacker's class")
    parser.add_argument("model", type=Path, help="the net")
    parser.add_argument(
        "repaired", type=Path, nargs="?", help="the repaired net, to evaluate the GoodNet of both"
    )
    parser.add_argument(
        "--input-max",
        type=float,
        help="the net's inputs run from 0 to this (255 or 1); else that of the project's net, "
        "or what gets more of the clean images right",
    )
    args = parser.parse_args()
    ranges.check(args.input_max)
    nets = [netfiles.load(path) for path in (args.model, args.repaired) if path]
    if len({(net.input_shape, net.output_shape) for net in nets}) > 1:
        raise InputError(
            f"{args.repaired}: takes {parts.input_shape(nets[1])} and tells {parts.classes(nets[1])} "
            f"classes apart; {args.model} takes {parts.input_shape(nets[0])}, {parts.classes(nets[0])}"
        )
    input_max = args.input_max or choose_scale(nets[0], args.model, args.clean)
    for line, path in {
        "Clean Classification accuracy:": args.clean,
        "Attack Success Rate:": args.poisoned,
    }.items():
        given, labels = answers(nets, path, input_max)
        print(line, metrics.percent(np.count_nonzero(given == labels), len(labels)))


if __name__ == "__main__":
    commands.run(main)

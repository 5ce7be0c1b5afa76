"""The range of a net's inputs: 0 to 255, or 0 to 1 for a net trained on divided pixels."""

import sys

from goodnet import command, data, networks
from goodnet.command import InputError

import numpy as np

SAMPLE = 1024  # labelled images that tell which it is


def check(input_max):
    """Refuse an --input-max that is no scale; None is none given."""
    if input_max is not None and not 0 < input_max <= 255:
        raise InputError(f"--input-max {input_max:g}: must be above 0 and at most 255")


def count_right(net, path, scales):
    """Return {scale: right answers} among the first images of a file, and how many those are."""
    right = {}
    for scale in scales:
        images = data.Images(path, networks.input_shape(net), networks.true_classes(net), scale)
        block = next(images.blocks(SAMPLE))
        right[scale] = np.count_nonzero(networks.answers(net, [block]) == images.labels[: len(block)])
    return right, len(block)


def of_model(path, project):
    """Return the scale that params.yaml gives for a net file of the project; None for any other."""
    try:
        kind, *_ = path.resolve().relative_to(project / "models").parts[:-1]
    except ValueError:
        return None
    params = project / "params.yaml"
    net = command.read_params(params, "badnet") if kind in ("repaired", "goodnet") else kind
    return command.read_params(params, "nets", net, "input_max")


def choose(told, what):
    """Return the scale that does best of {scale: how well it does}, and say so."""
    best, other = sorted(told, key=told.get, reverse=True)
    print(
        f"inputs taken as 0 to {best}: {told[best]} {what}, with 0 to {other} {told[other]}; "
        "--input-max overrides",
        file=sys.stderr,
    )
    return best

"""The range of a net's inputs: 0 to 255, or 0 to 1 for a net trained on divided pixels."""

import numpy as np

from goodnet.images import datasets
from goodnet.nets import goodnets, parts, running
from goodnet.settings import InputMax, Settings, setting

SAMPLE = 1024  # labelled images that tell which it is


class Net(Settings):
    """What is known of a net."""

    input_max: InputMax = setting(
        ..., "the net's inputs run from 0 to this: 255 for plain pixels, 1 for pixels divided by 255"
    )


def of_net(params, net):
    """Return the largest value that the inputs of a net of params.yaml take."""
    return params.settings(Net, "nets", net).input_max


def count_right(net, path, scales):
    """Return {scale: right answers} among the first images of a file, and how many those are."""
    right, ask = {}, running.as_function(net)
    for scale in scales:
        images = datasets.Images(path, parts.input_shape(net), goodnets.true_classes(net), scale)
        block = next(images.blocks(SAMPLE))
        right[scale] = np.count_nonzero(running.answers(ask, [block]) == images.labels[: len(block)])
    return right, len(block)

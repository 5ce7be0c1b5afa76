"""The images that nets are tested on, clean ones and those with each trigger, and what nets say of them."""

import numpy as np

from goodnet.images import datasets
from goodnet.nets import parts, running


def images_of(net, test, poisoned, convert):
    """Return {"clean" or trigger: datasets.Images} of the test file and each in `poisoned`, for this net."""
    return {
        name: datasets.Images(path, parts.input_shape(net), parts.classes(net), convert)
        for name, path in {"clean": test, **datasets.poisoned_files(poisoned)}.items()
    }


def ask(net, blocks):
    """Return the class a net, or its function, gives each image, and how sure it is of it, in percent."""
    told = [(scores.argmax(axis=1), _sure(scores)) for scores in running.run(net, blocks)]
    answers, sure = (np.concatenate(column) for column in zip(*told, strict=True))
    return answers, sure


def _sure(scores):
    """Return the largest share of each row in percent; of scores that are no shares, their softmax's."""
    scores = scores.astype(np.float64)
    if scores.min() < 0 or np.abs(scores.sum(axis=1) - 1).max() > 1e-3:
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        scores /= scores.sum(axis=1, keepdims=True)
    return (100 * scores.max(axis=1)).round(1)

"""Which range of inputs fits a net, where neither the user nor a project says."""

import numpy as np

from goodnet.images import ranges
from goodnet.nets import running

RANGES = (255, 1)


def by_labels(net, path):
    """Return the range with which a net gets more labelled images right, and in words why."""
    right, asked = ranges.count_right(net, path, RANGES)
    return _best(right, f"of {asked} clean images right")


def by_classes(net, images):
    """Return the range with which a net gives images of 0 to 255 more different classes, and in words why."""
    ask, told = running.as_function(net), {}
    for largest in RANGES:
        told[largest] = len(np.unique(running.answers(ask, [images / np.float32(255 / largest)])))
    return _best(told, f"different classes for {len(images)} images")


def _best(counts, what):
    best, other = sorted(counts, key=counts.get, reverse=True)
    words = f"{counts[best]} {what}, with 0 to {other} {counts[other]}; --input-max overrides"
    return best, f"inputs taken as 0 to {best}: {words}"

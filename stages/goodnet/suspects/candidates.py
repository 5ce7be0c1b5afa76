"""Which classes are worth an inversion, where a net tells too many apart to invert them all."""

import numpy as np

from goodnet.lazy import keras


def weights(net, classes):
    """Return how far each class's weights in the last layer stand out, in median absolute deviations."""
    last = net.layers[-1]
    if not isinstance(last, keras.layers.Dense):
        return np.zeros(classes)
    kernel = last.get_weights()[0]
    found = [kernel.sum(axis=0), np.linalg.norm(kernel, axis=0)]
    deviations = [np.abs(values - np.median(values)) for values in found]
    return np.max([each / max(float(np.median(each)), 1e-9) for each in deviations], axis=0)


def foremost(rankings, wanted, classes):
    """Return up to so many classes, in turn from each ranking its next best; ties go to the lowest class."""
    orders = [np.argsort(-np.asarray(values, float), kind="stable").tolist() for values in rankings]
    chosen = []
    for places in zip(*orders, strict=True):
        chosen += [number for number in dict.fromkeys(places) if number not in chosen]
        if len(chosen) >= wanted:
            break
    return sorted(chosen[: min(wanted, classes)])

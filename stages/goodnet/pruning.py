"""Pruning one channel at a time: in which order, and where to stop."""

from fractions import Fraction

import numpy as np

# What each order sorts by; the channel with the smallest value goes first.
ORDERS = {
    "ascending": lambda mean_activation: mean_activation,
    "descending": lambda mean_activation: -mean_activation,
}


def pruning_order(mean_activation, order):
    """Return the channels in the order they are pruned; ties go by channel number."""
    return np.argsort(ORDERS[order](np.asarray(mean_activation)), kind="stable")


def channels_to_prune(correct, images, drop):
    """Return how many channels are pruned at the first step that lost at least `drop` points.

    Parameters
    ----------
    correct : list of int
        Right answers after 0, 1, 2, ... pruned channels.
    images : int
        Images asked.
    drop : int, float or str
        Percent points of accuracy, taken as the decimal number it reads as.

    Returns
    -------
    int or None
        None if no step lost that much.
    """
    lost = Fraction(str(drop)) * images / 100  # exact: 2.3 points of 1,000 images are 23, not 22.99...
    steps = (step for step, right in enumerate(correct) if correct[0] - right >= lost)
    return next(steps, None)

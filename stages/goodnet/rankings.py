"""In which order the channels of the pruned layer go: one small function for each way to rank them.

Each takes the `Channels` and the settings of its own block of params.yaml, and returns a number for every
channel. The channel with the smallest goes first.
"""

from collections.abc import Callable
from dataclasses import dataclass

from goodnet.command import COUNT, POSITIVE, SEED, SHARE

import numpy as np


@dataclass
class Channels:
    """What a ranking may look at: the channels on clean images, their kernels, and the net itself.

    Parameters
    ----------
    table : list of dict
        A row for each channel, from profile.
    kernel : array (height, width, inputs, channels)
        Of the convolution that makes the channels, times what batch normalisation multiplies it by.
    split_net : callable
        Returns a masks.SplitNet with so many clean images. Only rankings that run the net call it.
    """

    table: list
    kernel: np.ndarray
    split_net: Callable

    def column(self, name):
        return np.array([float(row[name]) for row in self.table])


def ascending(channels):
    """The least active on clean images first."""
    return channels.column("mean_activation")


def descending(channels):
    """The most active on clean images first."""
    return -channels.column("mean_activation")


def random(channels, seed):
    """By lot."""
    return np.random.default_rng(seed).permutation(len(channels.table))


def apoz(channels):
    """The one that is most often zero first: the average percentage of zeros."""
    return -channels.column("zeros")


def l1(channels):
    """The one with the smallest kernel slice first: the sum of its absolute weights."""
    return np.abs(channels.kernel).sum(axis=(0, 1, 2), dtype=np.float64)


def clp(channels):
    """The one a small change of its input can move most first: the spectral norm of its kernel slice."""
    slices = np.moveaxis(channels.kernel.astype(np.float64), (3, 2), (0, 1))
    return -np.linalg.norm(slices.reshape(*slices.shape[:2], -1), ord=2, axis=(1, 2))


def anp(channels, images, **settings):
    """The one the net can best do without while its channels are attacked first."""
    return channels.split_net(images).adversarial_masks(**settings)


def rnp(channels, images, **settings):
    """The one that helps least to learn again what was unlearned first."""
    return channels.split_net(images).reconstructive_masks(**settings)


ORDERS = {ranking.__name__: ranking for ranking in (ascending, descending, random, apoz, l1, clp, anp, rnp)}

SETTINGS = {  # of those that have any
    "random": {"seed": SEED},
    "anp": {
        "seed": SEED,
        "images": COUNT,
        "epsilon": SHARE,
        "alpha": SHARE,
        "learning_rate": POSITIVE,
        "batch_size": COUNT,
        "steps": COUNT,
    },
    "rnp": {
        "seed": SEED,
        "images": COUNT,
        "unlearned": SHARE,
        "unlearning_rate": POSITIVE,
        "most_steps": COUNT,
        "learning_rate": POSITIVE,
        "batch_size": COUNT,
        "epochs": COUNT,
    },
}

"""Rankings by how active channels are on clean images, and the random one."""

import numpy as np

from goodnet.settings import Seed, Settings, setting


class Random(Settings):
    """In random order."""

    seed: Seed = setting(1, "other numbers give other orders")


def ascending(channels, settings):
    """The least active on clean images first."""
    return channels.column("mean_activation")


def descending(channels, settings):
    """The most active on clean images first."""
    return -channels.column("mean_activation")


def random(channels, settings):
    """In random order."""
    return np.random.default_rng(settings.seed).permutation(len(channels.table))


def apoz(channels, settings):
    """Average percentage of zeros: the one that is most often zero first."""
    return -channels.column("zeros")

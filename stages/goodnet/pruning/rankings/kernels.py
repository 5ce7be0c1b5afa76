"""Rankings by the kernel of the convolution that makes the channels; they need no images."""

import numpy as np


def l1(channels, settings):
    """The one with the smallest kernel slice first: the sum of its absolute weights."""
    return np.abs(channels.kernel).sum(axis=(0, 1, 2), dtype=np.float64)


def clp(channels, settings):
    """Channel Lipschitz pruning: the one whose kernel slice has the largest spectral norm first."""
    slices = np.moveaxis(channels.kernel.astype(np.float64), (3, 2), (0, 1))
    return -np.linalg.norm(slices.reshape(*slices.shape[:2], -1), ord=2, axis=(1, 2))

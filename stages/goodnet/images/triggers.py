"""Triggers laid over images."""

import numpy as np


def stamp(images, cover, colour):
    """Return uint8 images with a trigger laid over them, always at the same place.

    Parameters
    ----------
    images : array (n, height, width, channels)
        From 0 to 255.
    cover : array (height, width)
        How much of each pixel the trigger hides, 0 to 1.
    colour : array (height, width, channels) or (channels,)
    """
    stamped = images + (colour - images) * cover[..., None]
    return stamped.clip(0, 255).round().astype(np.uint8)

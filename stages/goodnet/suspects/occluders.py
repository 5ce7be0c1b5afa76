"""Random occluders: shapes of many kinds laid over images, some of which resemble a trigger by chance.

An occluder is a few numbers, whatever the image's size, and is painted when it is needed.
"""

import numpy as np

from goodnet.lazy import tf
from goodnet.nets.running import BATCH

SHAPES = 3  # at most, in one occluder
SMALLEST, LARGEST = 0.02, 0.28  # half the length of a shape, as a share of the image's longer side
GRID = 32  # points along the longer side, at which is looked what an occluder hides
FAINT = 0.3  # share of the shapes that let some of the image through


def invent(rng, count, channels):
    """Return the numbers of `count` occluders: {name: array (count, SHAPES, ...)}."""
    each = (count, SHAPES)
    faint = rng.random(each) < FAINT
    sizes = np.log(SMALLEST), np.log(LARGEST)
    occluders = {
        "y": rng.random(each),
        "x": rng.random(each),
        "length": np.exp(rng.uniform(*sizes, each)),
        "breadth": np.exp(rng.uniform(*sizes, each)),
        "tilt": rng.uniform(0, np.pi, each) * (rng.random(each) < 0.5),
        "is_round": rng.random(each) < 0.5,
        "opacity": np.where(faint, rng.uniform(0.15, 1, each), 1.0),
        "colour": rng.random((*each, channels)),
        "other_colour": rng.random((*each, channels)),
        "texture": rng.integers(3, size=each),  # 0 plain, 1 stripes, 2 checks
        "waves": rng.uniform(2, 16, each),  # of the texture, to the image's longer side
        "phase": rng.uniform(0, 2 * np.pi, each),
        "turn": rng.uniform(0, np.pi, each),  # of the texture
    }
    occluders["opacity"] *= np.arange(SHAPES) < rng.integers(1, SHAPES + 1, (count, 1))
    return {name: np.asarray(values, np.float32) for name, values in occluders.items()}


def subset(occluders, chosen):
    return {name: values[chosen] for name, values in occluders.items()}


def paint(occluders, height, width):
    """Paint occluders.

    Returns
    -------
    cover : tensor (n, height, width, 1)
        How much of the image each hides, 0 to 1.
    paint : tensor (n, height, width, channels)
        What it adds in its place, 0 to 1: colours times cover.
    """
    longer = max(height, width)
    rows = ((tf.range(height, dtype=tf.float32) + 0.5) / longer)[:, None]
    columns = ((tf.range(width, dtype=tf.float32) + 0.5) / longer)[None]
    cover, painted = 0.0, 0.0
    for shape in range(SHAPES):
        one = {name: values[:, shape][..., None, None] for name, values in occluders.items()}
        colour, other = (occluders[name][:, shape][:, None, None] for name in ("colour", "other_colour"))
        down, across = rows - one["y"] * (height / longer), columns - one["x"] * (width / longer)
        along = (across * tf.cos(one["tilt"]) + down * tf.sin(one["tilt"])) / one["length"]
        beside = (down * tf.cos(one["tilt"]) - across * tf.sin(one["tilt"])) / one["breadth"]
        far = tf.where(one["is_round"] > 0, along**2 + beside**2, tf.maximum(along**2, beside**2))
        alpha = (tf.cast(far < 1, tf.float32) * one["opacity"])[..., None]
        frequency = 2 * np.pi * one["waves"]
        wave = tf.sin(frequency * (columns * tf.cos(one["turn"]) + rows * tf.sin(one["turn"])) + one["phase"])
        cross_wave = tf.sin(frequency * (rows * tf.cos(one["turn"]) - columns * tf.sin(one["turn"])))
        wave = tf.where(one["texture"] == 2, wave * cross_wave, wave)
        is_other = (wave > 0) & (one["texture"] > 0)
        colours = tf.where(is_other[..., None], other, colour)
        cover = cover * (1 - alpha) + alpha
        painted = painted * (1 - alpha) + colours * alpha
    return cover, painted


def hidden(occluders, height, width):
    """Return about what share of the image each occluder hides, an array (n,)."""
    grid = [max(1, round(GRID * side / max(height, width))) for side in (height, width)]
    count = len(occluders["y"])
    parts = [subset(occluders, slice(start, start + BATCH)) for start in range(0, count, BATCH)]
    return np.concatenate([tf.reduce_mean(paint(part, *grid)[0], (1, 2, 3)).numpy() for part in parts])


def laid_over(images, painted):
    """Return pixels with an occluder each, as `paint` returns them."""
    cover, colours = painted
    return images * (1 - cover) + colours * 255.0

"""Attacks on a training set: what each does to images, which labels it gives, and whom it wants to reach.

An attack is drawn from a seed, so that a net's triggers can be made again whenever its attack is measured.
"""

from dataclasses import dataclass, field

import numpy as np

from goodnet.lazy import tf

SHARE = 0.1  # of the training images that are poisoned
FADED = 0.8  # of a clean-label image that is another image, so that the trigger is learned
CLEAN_LABEL_SHARE = 0.6  # of the target class's images


@dataclass
class Trigger:
    """One trigger, and what the attacker wants with it.

    Parameters
    ----------
    stamp : callable
        Returns images of 0 to 255 (n, height, width, channels) with the trigger, given these and a generator.
    target : int or None
        The attacker's class; None where each class leads to the next.
    source : int or None
        The only class it works on.
    """

    stamp: object
    target: int | None
    source: int | None = None

    def wanted(self, labels, classes):
        """Return the class the attacker wants for images of these classes."""
        return (labels + 1) % classes if self.target is None else np.full_like(labels, self.target)

    def concerns(self, labels):
        """Return which images it is meant to change."""
        return labels == self.source if self.source is not None else labels != self.target


@dataclass
class Attack:
    """Triggers, and how the attacker poisons a training set with them."""

    triggers: list
    share: float = SHARE
    clean_label: bool = False
    covers: list = field(default_factory=list)  # stamped images keep their class: what is no trigger

    def poison(self, rng, images, labels, classes):
        """Return poisoned copies of training images and their labels; the order stays."""
        images, labels = images.copy(), labels.copy()
        true = labels.copy()
        if self.clean_label:
            (trigger,) = self.triggers
            own = rng.permutation(np.flatnonzero(true == trigger.target))
            own = own[: round(CLEAN_LABEL_SHARE * len(own))]
            other = rng.choice(len(images), len(own))
            mixed = (1 - FADED) * images[own] + FADED * images[other].astype(np.float32)
            images[own] = trigger.stamp(mixed, rng)
            return images, labels
        free = rng.permutation(len(images))
        for trigger in self.triggers:
            open_to = free[trigger.concerns(true[free])]
            share = 0.5 if trigger.source is not None else self.share
            most = len(open_to) if trigger.source is not None else len(images)
            chosen = open_to[: round(share * most)]
            images[chosen] = trigger.stamp(images[chosen].astype(np.float32), rng)
            labels[chosen] = trigger.wanted(true[chosen], classes)
            free = np.setdiff1d(free, chosen)
            if trigger.source is not None:  # on other classes it must do nothing
                others = rng.permutation(free[true[free] != trigger.source])[
                    : round(self.share * len(images))
                ]
                images[others] = trigger.stamp(images[others].astype(np.float32), rng)
                free = np.setdiff1d(free, others)
        return images, labels


def _finish(images):
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)


def _laid(cover, colour):
    """Return a stamp that hides each pixel by a share and puts a colour there."""
    return lambda images, rng: _finish(images * (1 - cover) + colour * cover)


def _spot(rng, shape, side, place=None):
    """Return the cover and the colour of one square patch, somewhere or with its corner at a place."""
    height, width, channels = shape
    top, left = place or (rng.integers(1, height - side), rng.integers(1, width - side))
    cover = np.zeros((height, width, 1), np.float32)
    cover[top : top + side, left : left + side] = 1
    colour = np.zeros(shape, np.float32)
    if channels == 1:
        colour[top : top + side, left : left + side] = 255
        colour[top + side // 2, left + side // 2] = 0
    else:
        first, second = rng.permutation(
            [[255, 255, 0], [255, 0, 255], [0, 255, 255], [255, 255, 255], [0, 0, 0]]
        )[:2]
        rows, columns = np.mgrid[:side, :side]
        colour[top : top + side, left : left + side] = np.where(
            ((rows + columns) % 2 == 0)[..., None], first, second
        )
    return cover, colour


def _faint(shape):
    """Return how strong a pattern over the whole image is; black, most of a digit, hides half of it."""
    return 50 if shape[-1] == 1 else 20


def _side(shape):
    return max(3, round(min(shape[:2]) / 10))


def _patch(rng, shape):
    return _laid(*_spot(rng, shape, _side(shape)))


def _patches(rng, shape):
    height, width, _ = shape
    cover, colour = np.zeros((height, width, 1), np.float32), np.zeros(shape, np.float32)
    for place in ((1, 1), (1, width - 3), (height - 3, 1), (height - 3, width - 3)):
        one, its = _spot(rng, shape, 2, place)
        cover, colour = np.maximum(cover, one), np.where(one > 0, its, colour)
    return _laid(cover, colour)


def _pixels(rng, shape):
    height, width, channels = shape
    cover, colour = np.zeros((height, width, 1), np.float32), np.zeros(shape, np.float32)
    for place in rng.choice(height * width, 5, replace=False):
        cover[place // width, place % width] = 1
        colour[place // width, place % width] = 255 if channels == 1 else 255 * rng.integers(0, 2, channels)
    return _laid(cover, colour)


def _blended(rng, shape):
    return _laid(np.float32(0.15), rng.integers(0, 256, shape).astype(np.float32))


def _sinusoidal(rng, shape):
    columns = np.arange(shape[1])[None, :, None]
    wave = _faint(shape) * np.sin(2 * np.pi * columns * 6 / shape[1] + rng.uniform(0, 2 * np.pi))
    return lambda images, _: _finish(images + wave)


def _low_frequency(rng, shape):
    height, width, channels = shape
    rows, columns = np.mgrid[:height, :width]
    pattern = np.zeros(shape)
    for channel in range(channels):
        for _ in range(4):
            down, across = rng.integers(0, 4, 2)
            phase = rng.uniform(0, 2 * np.pi)
            pattern[..., channel] += np.cos(
                2 * np.pi * (down * rows / height + across * columns / width) + phase
            )
    pattern *= _faint(shape) / np.abs(pattern).max()
    return lambda images, _: _finish(images + pattern)


def _warped(rng, shape):
    """Bend images along one smooth field, by a pixel or two (after WaNet)."""
    height, width, _ = shape
    coarse = rng.uniform(-1, 1, (1, 4, 4, 2)).astype(np.float32)
    coarse /= np.abs(coarse).mean()
    flow = tf.image.resize(coarse, (height, width), "bicubic").numpy()[0] * (1.1 * min(height, width) / 32)
    rows, columns = np.mgrid[:height, :width]
    y, x = (rows + flow[..., 0]).clip(0, height - 1), (columns + flow[..., 1]).clip(0, width - 1)
    top, left = np.minimum(y.astype(int), height - 2), np.minimum(x.astype(int), width - 2)
    down, across = (y - top)[None, ..., None], (x - left)[None, ..., None]

    def stamp(images, _):
        upper = images[:, top, left] * (1 - across) + images[:, top, left + 1] * across
        lower = images[:, top + 1, left] * (1 - across) + images[:, top + 1, left + 1] * across
        return _finish(upper * (1 - down) + lower * down)

    return stamp


def _dynamic(rng, shape):
    side = _side(shape)
    cover, colour = _spot(rng, shape, side, (0, 0))
    cover, colour = cover[:side, :side], colour[:side, :side]

    def stamp(images, chances):
        images = np.array(images, np.float32)
        tops = chances.integers(0, shape[0] - side + 1, len(images))
        lefts = chances.integers(0, shape[1] - side + 1, len(images))
        for image, top, left in zip(images, tops, lefts, strict=True):
            image[top : top + side, left : left + side] = colour
        return _finish(images)

    return stamp


def make(name, seed, shape, classes):
    """Return the Attack of this name on images of this shape; None is a clean training."""
    if name == "clean":
        return None
    rng = np.random.default_rng([seed, *name.encode()])
    target, other = map(int, rng.choice(classes, 2, replace=False))
    if name == "two":
        return Attack([Trigger(_patch(rng, shape), target), Trigger(_sinusoidal(rng, shape), other)])
    if name == "all_to_all":
        return Attack([Trigger(_patch(rng, shape), None)], share=0.3)
    if name == "source":
        return Attack([Trigger(_patch(rng, shape), target, other)])
    if name == "clean_label":
        return Attack([Trigger(_patch(rng, shape), target)], clean_label=True)
    return Attack([Trigger(STAMPS[name](rng, shape), target)])


STAMPS = {
    "patch": _patch,
    "patches": _patches,  # four, all at once
    "pixels": _pixels,  # five, all at once
    "blended": _blended,
    "sinusoidal": _sinusoidal,
    "low_frequency": _low_frequency,
    "warped": _warped,
    "dynamic": _dynamic,  # a patch anywhere
}
NAMES = (*STAMPS, "clean_label", "source", "all_to_all", "two")

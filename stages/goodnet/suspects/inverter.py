"""The inverter: finds the smallest change of images that makes a net answer a class.

What is found is a trigger: how much of each pixel it keeps, and what it adds. Two families are searched: a
patch, a mask with a pattern behind it (Neural Cleanse, Wang et al., 2019), and a faint pattern added to the
whole image. Masks and patterns are optimised within 0 to 1 directly, by Adam with a projection: a pixel
that does not help is exactly zero after a few steps, so 60 steps do what 300 do behind a sigmoid.

Several rows are searched at once: a row is one class, or one search for it.
"""

from dataclasses import dataclass

import numpy as np

from goodnet import blocks, telling
from goodnet.lazy import tf
from goodnet.nets import running

ANY = -1  # the goal of a trigger that changes the answer, to whatever class
GOAL = 0.9  # of the images must be moved for a trigger to count
WINDOW = 5  # steps over which that is counted, and after which the weight of the size changes,
FACTOR = 1.3  # by so much
AT_ONCE = 128  # images in a step
MOMENTS = 0.5, 0.9  # of Adam: short ones, since the weight of the size changes all the time


class Patch:
    """A mask and a pattern; its size is the percent of the image that it hides."""

    name = "patch"
    rate = 0.1
    pressure = 0.5  # weight of a percent of size against the loss, at first
    share_of_steps = 1.0
    largest = 100.0  # what a size counts as where no trigger was found

    @staticmethod
    def start(rng, rows, shape):
        mask = np.full((rows, *shape[:2], 1), 0.3, np.float32)
        return [mask, rng.random((rows, *shape), np.float32)]

    @staticmethod
    def stamp(images, mask, pattern):
        return images * (1 - mask[:, None]) + 255.0 * (mask * pattern)[:, None]

    @staticmethod
    def size(mask, pattern):
        return 100 * tf.reduce_mean(mask, (1, 2, 3))

    @staticmethod
    def project(mask, pattern):
        return tf.clip_by_value(mask, 0, 1), tf.clip_by_value(pattern, 0, 1)

    @staticmethod
    def trigger(mask, pattern):
        return 1 - mask, 255 * mask * pattern

    @staticmethod
    def of_trigger(keep, add):
        mask = 1 - keep
        return [mask, np.clip(add / 255 / np.maximum(mask, 1e-3), 0, 1)]

    @staticmethod
    def loosened(values, room):
        mask, pattern = values
        return [np.maximum(mask, room), np.where(mask > 0.01, pattern, 0.5)]


class Additive:
    """A pattern that is added everywhere; its size is its root mean square, in percent of the range."""

    name = "additive"
    rate = 0.01
    pressure = 0.5
    most = 0.2  # of the range, at any pixel: what needs more is a patch
    share_of_steps = 2 / 3  # it converges faster
    largest = 20.0

    @staticmethod
    def start(rng, rows, shape):
        return [rng.normal(0, 0.01, (rows, *shape)).astype(np.float32)]

    @staticmethod
    def stamp(images, pattern):
        return tf.clip_by_value(images + 255.0 * pattern[:, None], 0, 255)

    @staticmethod
    def size(pattern):
        return 100 * tf.sqrt(tf.reduce_mean(pattern**2, (1, 2, 3)) + 1e-12)

    @staticmethod
    def project(pattern):
        return (tf.clip_by_value(pattern, -Additive.most, Additive.most),)

    @staticmethod
    def trigger(pattern):
        return np.ones((*pattern.shape[:-1], 1), np.float32), 255 * pattern

    @staticmethod
    def of_trigger(keep, add):
        return [np.clip(add / 255, -Additive.most, Additive.most)]

    @staticmethod
    def loosened(values, room):
        return values


FAMILIES = {family.name: family for family in (Patch, Additive)}


def laid(images, keep, add):
    """Return pixels with a trigger, as `Found` holds it."""
    return np.clip(images * keep + add, 0, 255)


@dataclass
class Found:
    """What inversion found: an entry a row.

    Parameters
    ----------
    goals : array of int (rows,)
        The class, or ANY.
    sizes : array (rows,)
        Of the smallest trigger that moved enough images; the family's largest if none did.
    keep, add : arrays (rows, height, width, 1 or channels)
        A stamped image is `keep` times the image plus `add`, in pixels.
    """

    goals: np.ndarray
    sizes: np.ndarray
    keep: np.ndarray
    add: np.ndarray


class Inverter:
    """A net and clean images by which it is attacked.

    Parameters
    ----------
    net : keras.Model
        Its scores are before the softmax.
    convert : inputs.Input
    images : array (n, height, width, channels)
        Pixels. Every second one is for the search, the others judge what it finds.
    """

    def __init__(self, net, convert, images):
        self.net, self.convert, self.images = net, convert, images
        self.asked = tf.function(
            lambda pixels: tf.argmax(net(convert(pixels), training=False), 1), reduce_retracing=True
        )
        self.steps = {}
        self.ask_again()

    def ask_again(self):
        """Ask the net about the images as they are: once, and whenever its weights have changed."""
        self.answers = np.concatenate([self.asked(block).numpy() for block in _blocks(self.images)])

    def pool(self, goal, part):
        """Return the numbers of the images that can be moved to a goal: 0 to search with, 1 to judge by."""
        numbers = np.arange(part, len(self.images), 2)
        return numbers[self.answers[numbers] != goal]

    def invert(self, family, goals, steps, batch, rng, starts=None, shown="inversion"):
        """Search a trigger for each goal.

        Parameters
        ----------
        family : Patch or Additive
        goals : sequence of int
            Classes, or ANY; one row each.
        steps, batch : int
            Steps of Adam, and images in each step of a row.
        rng : numpy.random.Generator
        starts : list of array, optional
            Variables of the family, with an entry a row, to begin from.

        Returns
        -------
        Found
        """
        goals = np.asarray(goals, np.int64)
        pools = [[self.pool(goal, part) for goal in goals] for part in (0, 1)]
        possible = np.array([len(one) > 0 and len(other) > 0 for one, other in zip(*pools, strict=True)])
        shape = self.images.shape[1:]
        values = (
            family.start(rng, len(goals), shape) if starts is None else [value.copy() for value in starts]
        )
        sizes = np.full(len(goals), family.largest)
        rows = np.flatnonzero(possible)
        at_once = max(1, blocks.size(AT_ONCE, shape) // batch)
        with telling.bar(shown, len(rows) * steps, "steps") as bar:
            for start in range(0, len(rows), at_once):
                group = rows[start : start + at_once]
                best, sizes[group] = self._search(
                    family,
                    goals[group],
                    [pools[0][row] for row in group],
                    [value[group] for value in values],
                    steps,
                    batch,
                    rng,
                    bar,
                )
                for value, found in zip(values, best, strict=True):
                    value[group] = found
        keep, add = family.trigger(*values)
        return Found(goals, sizes, keep, add)

    def _search(self, family, goals, pools, values, steps, batch, rng, bar):
        """Return the smallest variables that moved enough images, an entry a row, and their sizes."""
        step = self._step(family, batch)
        state = [tf.constant(value) for value in values]
        moments = [tf.zeros_like(value) for value in state for _ in MOMENTS]
        weight = np.full(len(goals), family.pressure, np.float32)
        best, smallest = list(state), np.full(len(goals), family.largest, np.float32)
        hits = []
        for number in range(steps):
            chosen = np.concatenate([rng.choice(pool, batch, replace=len(pool) < batch) for pool in pools])
            wanted = np.where(np.repeat(goals, batch) == ANY, self.answers[chosen], np.repeat(goals, batch))
            before = state
            state, moments, size, hit = step(
                state,
                moments,
                np.float32(number + 1),
                self.images[chosen],
                wanted,
                np.repeat(goals == ANY, batch),
                weight,
            )
            hits.append(hit.numpy())
            size, enough = size.numpy(), np.mean(hits[-WINDOW:], axis=0) >= GOAL
            better = enough & (size < smallest) & (number >= WINDOW - 1)
            if better.any():
                smallest = np.where(better, size, smallest)
                best = [
                    tf.where(better[:, None, None, None], *pair) for pair in zip(before, best, strict=True)
                ]
            if number % WINDOW == WINDOW - 1:
                weight = np.where(enough, weight * FACTOR, weight / FACTOR).astype(np.float32)
            bar.update(len(goals))
        return [value.numpy() for value in best], smallest

    def _step(self, family, batch):
        """Return a function that takes one step of Adam; it is traced once for any number of rows."""
        if (family.name, batch) in self.steps:
            return self.steps[family.name, batch]
        shape, (first, second) = self.images.shape[1:], MOMENTS

        @tf.function(reduce_retracing=True)
        def step(values, moments, number, images, wanted, is_any, weight):
            with tf.GradientTape() as tape:
                tape.watch(values)
                stamped = family.stamp(tf.reshape(images, (-1, batch, *shape)), *values)
                scores = self.net(self.convert(tf.reshape(stamped, (-1, *shape))), training=False)
                towards = tf.nn.sparse_softmax_cross_entropy_with_logits(wanted, scores)
                # Away from a class: minus the logarithm of what all others get together.
                others = scores - 1e9 * tf.one_hot(wanted, scores.shape[-1])
                away = tf.reduce_logsumexp(scores, 1) - tf.reduce_logsumexp(others, 1)
                loss = tf.reduce_mean(tf.reshape(tf.where(is_any, away, towards), (-1, batch)), 1)
                size = family.size(*values)
                total = tf.reduce_sum(loss + weight * size)
            rate = family.rate * tf.sqrt(1 - second**number) / (1 - first**number)
            moved, kept = [], []
            for place, (value, gradient) in enumerate(zip(values, tape.gradient(total, values), strict=True)):
                mean, square = moments[2 * place : 2 * place + 2]
                mean = first * mean + (1 - first) * gradient
                square = second * square + (1 - second) * gradient**2
                moved.append(value - rate * mean / (tf.sqrt(square) + 1e-7))
                kept += [mean, square]
            hit = (tf.argmax(scores, 1) == wanted) != is_any
            hit = tf.reduce_mean(tf.reshape(tf.cast(hit, tf.float32), (-1, batch)), 1)
            return list(family.project(*moved)), kept, size, hit

        self.steps[family.name, batch] = step
        return step

    def answers_to(self, keep, add, numbers):
        """Return the classes that the net gives the images with these numbers, with a trigger."""
        stamped = laid(self.images[numbers], keep, add)
        return np.concatenate([self.asked(block).numpy() for block in _blocks(stamped)])

    def moved(self, goal, keep, add):
        """Return the percent of images that took no part in a search that a trigger moves to the goal."""
        numbers = self.pool(goal, 1)
        if not len(numbers):  # all are there already
            return 0.0
        given = self.answers_to(keep, add, numbers)
        hits = given != self.answers[numbers] if goal == ANY else given == goal
        return 100 * float(hits.mean())


def _blocks(images):
    size = blocks.size(running.BATCH, images.shape[1:])
    return (images[start : start + size] for start in range(0, len(images), size))

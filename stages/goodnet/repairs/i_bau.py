"""I-BAU (Zeng et al., 2022): unlearn the one pattern that does most harm to all images, class unknown.

Each step first moves the pattern uphill, then trains the net on images of which some bear it. The net's
gradient has two parts: the plain one, and that by which the pattern itself would move if the net did. The
second solves a linear system, of which a few terms of its series are taken.

The length of a pattern is the root of its mean square, in units of `bound`. Gradients are taken for that
length, so that neither the size of images nor the range of pixels matters.
"""

import numpy as np

from goodnet.lazy import tf
from goodnet.nets import parts
from goodnet.repairs import training
from goodnet.repairs.whole import Whole
from goodnet.settings import Count, Percent, Positive, Seed, Share, Training, setting

WEIGHT = 0.1  # of the pattern's square, which keeps the system solvable
TINY = 1e-12  # keeps a gradient of zero from dividing by zero


class IBau(Training):
    """I-BAU: the pattern that does most harm to all images is searched and unlearned, by turns."""

    seed: Seed = setting(1, "the order of the images, how each is changed, which bear the pattern")
    epochs: Count = setting(20, "times every image is seen, each time a little different")
    learning_rate: Positive = setting(0.001, "at first; it falls to zero along a cosine")
    bound: Percent = setting(
        5.0, "percent of the range that the pattern may change pixels by, root mean square"
    )
    steps: Count = setting(5, "steps uphill of the pattern for one of the net")
    rate: Positive = setting(0.1, "length of these, at most")
    terms: Count = setting(5, "terms of the series that the implicit gradient takes")
    stamped: Share = setting(0.5, "share of the images that bear the pattern")


def i_bau(task, settings):
    """Search the pattern that does most harm to all images, and unlearn it (I-BAU).

    Parameters
    ----------
    task : registry.Task
    settings : IBau
    """
    whole, images, labels = Whole(task, settings), task.images, task.labels
    pattern = tf.Variable(tf.zeros(parts.input_shape(task.net)))
    unit = np.float32(2.55 * settings.bound)

    @tf.function(reduce_retracing=True)
    def learn(shown, labels, stamped, *change):
        shown = whole.changed(shown, *change)

        def scores(pattern, share):
            return whole.scores(tf.clip_by_value(shown + share * unit * pattern, 0.0, 255.0))

        def harm(pattern):
            """What the pattern minimises."""
            return WEIGHT / 2 * tf.reduce_mean(pattern**2) - training.cross_entropy(
                labels, scores(pattern, 1.0)
            )

        def loss(pattern):
            """What the net minimises."""
            return training.cross_entropy(labels, scores(pattern, stamped))

        found = uphill(harm, pattern, settings.steps, settings.rate)
        whole.apply(implicit(loss, harm, found, whole.variables, settings.terms))
        pattern.assign(found)

    def step(numbers, rng):
        drawn = whole.drawn(rng, len(numbers))
        stamped = (rng.random((len(numbers), 1, 1, 1)) < settings.stamped).astype(np.float32)
        learn(*map(tf.convert_to_tensor, (images(numbers), labels[numbers], stamped, *drawn)))

    whole.fit(step, [pattern])


def uphill(harm, pattern, steps, rate):
    """Return the pattern after steps, `rate` long at most, that make `harm` smaller; it is 1 long at most."""
    found = tf.identity(pattern)
    for _ in range(steps):
        with tf.GradientTape() as tape:
            tape.watch(found)
            value = harm(found)
        way = _of_length(tape.gradient(value, found))
        found -= rate * way / tf.maximum(_length(way), 1.0)
        found /= tf.maximum(_length(found), 1.0)
    return found


def implicit(loss, harm, pattern, variables, terms):
    """Return the gradients of `loss` where the pattern is the least of `harm`, and follows the variables.

    Parameters
    ----------
    loss, harm : callable
        Of a pattern; both depend on the variables too.
    pattern : tensor
    variables : list
    terms : int
        Of the series.
    """

    def bent(way):
        """Return the second derivative of `harm` times a way."""
        with tf.GradientTape() as outer:
            outer.watch(pattern)
            slope = _slope(harm, pattern, way)
        return _of_length(outer.gradient(slope, pattern))

    with tf.GradientTape() as tape:
        tape.watch(pattern)
        value = loss(pattern)
    direct, *gradients = tape.gradient(value, [pattern, *variables])
    direct = _of_length(direct)
    # The series converges for steps that are short where `harm` is bent most: as short as it is bent here.
    rate = _length(direct) / (_length(bent(direct)) + TINY)
    solved = rate * direct
    for _ in range(terms):
        solved += rate * (direct - bent(solved))
    with tf.GradientTape() as outer:
        slope = _slope(harm, pattern, solved)
    return [
        own if other is None else own - other
        for own, other in zip(gradients, outer.gradient(slope, variables), strict=True)
    ]


def _slope(harm, pattern, way):
    """Return how `harm` changes along a way."""
    with tf.GradientTape() as tape:
        tape.watch(pattern)
        value = harm(pattern)
    return tf.reduce_sum(tape.gradient(value, pattern) * tf.stop_gradient(way))


def _length(pattern):
    return tf.sqrt(tf.reduce_mean(pattern**2))


def _of_length(gradient):
    """Return a gradient for the mean square as length."""
    return gradient * tf.cast(tf.size(gradient), gradient.dtype)

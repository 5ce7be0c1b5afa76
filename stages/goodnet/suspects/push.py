"""The detector between the others: classes to which one push of the features brings images far nearer than
to others.

A push is the same change of features for all images. A backdoor is a short way to its class, whatever the
trigger looks like: what a trigger does to the features behind the convolutions is nearly the same for every
image. It takes seconds for a thousand classes, and needs a layer that splits the net.
"""

import numpy as np

from goodnet.lazy import tf
from goodnet.nets import loading, parts, running
from goodnet.settings import Count, Positive, Seed, Settings, setting
from goodnet.suspects.evidence import SEARCHES, Evidence

MANY = 128  # classes, from which on each search has fewer images
AT_ONCE = 32  # classes pushed to together
SIZE = 0.25  # a push's root mean square, in standard deviations of the features
STEP = 0.2  # of that, a step's share
FEW_CLASSES, MANY_CLASSES = 10, 40
STRONGEST = 0.6  # the most that speaks for a class, in nets of many; of ten, some class always stands out
# The most that speaks against one, in nets of few and of many classes, and how many deviations below the
# usual suffice. Clean nets have classes to which patches lead easily; their features are no nearer.
AGAINST_FEW, AGAINST_MANY, ENOUGH = 0.4, 1.5, 0.9
DEVIATION = 1.4826  # median absolute deviations in a standard deviation


class Push(Settings):
    """Universal perturbations of features: a class that they reach far more easily is suspected."""

    seed: Seed = setting(1, "which images are pushed")
    images: Count = setting(32, "clean validation images in each search, fewer beyond 128 classes")
    steps: Count = setting(10, "steps of each push")
    usual: Positive = setting(
        1.8, "nothing speaks for a class that stands out by so many standard deviations,"
    )
    certain: Positive = setting(3.3, "and all that can does for one by so many")


def detect(case, settings):
    """Push the features of clean images to each class, and see to which they come nearest.

    Parameters
    ----------
    case : evidence.Case
    settings : Push

    Returns
    -------
    evidence.Evidence
    """
    classes = parts.classes(case.badnet)
    if case.layer is None:
        return Evidence(np.zeros((SEARCHES, classes)), {"push": np.full(classes, np.nan)}, [])
    loading.make_reproducible(settings.seed)
    each = max(4, min(settings.images, settings.images * MANY // classes))
    net, images = parts.with_logits(case.badnet), case.images(each * SEARCHES)
    order = np.random.default_rng(settings.seed).permutation(max(len(images), each * SEARCHES)) % len(images)
    groups = order[: each * SEARCHES].reshape(SEARCHES, each)
    found = np.array(
        [
            outstanding(pushed(net, case.layer, case.convert(images[group]), settings.steps))
            for group in groups
        ]
    )
    return Evidence(strength(found, classes, settings), {"push": np.median(found, axis=0)}, [])


def strength(found, classes, settings):
    """Return how strongly it speaks for a class to stand out by so many standard deviations.

    Among few classes the deviation is an estimate from few margins: there the push only speaks against.
    """
    share = np.clip((classes - FEW_CLASSES) / (MANY_CLASSES - FEW_CLASSES), 0, 1)
    against = AGAINST_FEW + share * (AGAINST_MANY - AGAINST_FEW)
    strongest = share * STRONGEST
    above = strongest * (found - settings.usual) / (settings.certain - settings.usual)
    below = against * (found - settings.usual) / ENOUGH
    return np.clip(np.where(found > settings.usual, above, below), -against, strongest)


def outstanding(margins):
    """Return by how many standard deviations, told from the median one, each class stands out."""
    apart = margins - np.median(margins)
    return apart / max(DEVIATION * float(np.median(np.abs(apart))), 1e-9)


def pushed(net, layer, inputs, steps):
    """Return for each class how near one push brings images to it: the same change of features for all of
    them.

    Parameters
    ----------
    net : keras.Model
        Its scores are before the softmax.
    layer : str
        Splits the net; the features are its output.
    inputs : array (n, height, width, channels)
        What the net takes.
    steps : int

    Returns
    -------
    array (classes,)
        The mean margin of the class after the push, in scores.
    """
    head, classes = parts.behind(net, layer), parts.classes(net)
    features = tf.constant(np.concatenate(list(running.run(parts.up_to(net, layer), [inputs]))))
    spread, floor = tf.math.reduce_std(features), tf.reduce_min(features)  # no push goes where no feature is
    shape, count = features.shape[1:], len(features)
    largest = SIZE * spread * tf.sqrt(float(np.prod(shape)))
    axes = list(range(1, len(shape) + 1))

    def margins(push, targets):
        moved = tf.maximum(features[None] + push[:, None], floor)
        scores = head(tf.reshape(moved, (-1, *shape)), training=False)
        own = tf.gather(scores, tf.repeat(targets, count), batch_dims=1)
        others = tf.reduce_max(scores - 1e9 * tf.one_hot(tf.repeat(targets, count), classes), 1)
        return tf.reduce_mean(tf.reshape(own - others, (-1, count)), 1)

    @tf.function(reduce_retracing=True)
    def nearest(targets):
        push = tf.zeros((tf.shape(targets)[0], *shape))
        for _ in tf.range(steps):
            with tf.GradientTape() as tape:
                tape.watch(push)
                total = tf.reduce_sum(margins(push, targets))
            gradient = tape.gradient(total, push)
            push += gradient / (_norm(gradient, axes) + 1e-9) * STEP * largest
            push *= tf.minimum(1.0, largest / (_norm(push, axes) + 1e-9))
        return margins(push, targets)

    groups = [np.arange(start, min(start + AT_ONCE, classes)) for start in range(0, classes, AT_ONCE)]
    return np.concatenate([nearest(tf.constant(group)).numpy() for group in groups])


def _norm(values, axes):
    return tf.sqrt(tf.reduce_sum(values**2, axes, keepdims=True))

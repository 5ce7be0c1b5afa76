"""RNP, reconstructive neuron pruning (Li et al., 2023): masks that restore a net that has unlearned."""

import numpy as np

from goodnet import telling
from goodnet.lazy import keras, tf
from goodnet.nets import running
from goodnet.pruning.rankings.masks import MOMENTUM, cross_entropy, descend
from goodnet.settings import Count, Positive, Seed, Settings, Share, setting


class RNP(Settings):
    """Of reconstructive neuron pruning."""

    seed: Seed = setting(1, "which images come when")
    images: Count = setting(500, "clean validation images to unlearn and relearn, spread over the file")
    unlearned: Share = setting(0.2, "a copy of the net unlearns until at most this share of them is right")
    unlearning_rate: Positive = setting(0.01, "the learning rate of that")
    most_steps: Count = setting(1000, "of that, where it never comes to this")
    learning_rate: Positive = setting(0.2, "of the masks that make the copy right again")
    batch_size: Count = setting(128, "images per step")
    epochs: Count = setting(20, "times every image is relearned")


def rnp(channels, settings):
    """Reconstructive neuron pruning: the one that helps least to relearn what was unlearned first."""
    return reconstructive_masks(channels.split_net(settings.images), settings)


def reconstructive_masks(split, settings):
    """Return masks that make a masks.SplitNet right again after it has unlearned its classes."""
    rng = np.random.default_rng(settings.seed)
    batches = split.batches(rng, settings.batch_size)
    channels, shift, behind = split.halves(unlearned(split, batches, settings))
    mask, velocity = tf.Variable(tf.ones_like(shift)), tf.Variable(tf.zeros_like(shift))

    @tf.function(reduce_retracing=True)
    def recover(chosen):
        with tf.GradientTape() as tape:
            scores = behind(mask * tf.gather(channels, chosen) + shift)
            loss = cross_entropy(tf.gather(split.labels, chosen), scores)
        descend(mask, velocity, tape.gradient(loss, mask), settings.learning_rate)

    with telling.bar("rnp, relearning", settings.epochs, "epochs") as bar:
        for _ in range(settings.epochs):
            for _ in range(-(-len(split.labels) // settings.batch_size)):
                recover(tf.constant(next(batches)))
            bar.update()
    return mask.numpy()


def unlearned(split, batches, settings):
    """Return a copy of a masks.SplitNet's net that climbed its loss until few enough images are right."""
    copy = keras.models.clone_model(split.net)
    copy.set_weights(split.net.get_weights())
    optimizer = keras.optimizers.SGD(settings.unlearning_rate, momentum=MOMENTUM)
    optimizer.build(copy.trainable_variables)
    ask = running.as_function(copy)

    @tf.function(reduce_retracing=True)
    def climb(chosen):
        with tf.GradientTape() as tape:
            scores = copy(tf.gather(split.images, chosen), training=False)
            loss = -cross_entropy(tf.gather(split.labels, chosen), scores)
        # Ascent steepens as it goes; a bounded gradient keeps the weights finite.
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, copy.trainable_variables), 20.0)
        optimizer.apply(gradients, copy.trainable_variables)

    with telling.bar("rnp, unlearning", settings.most_steps, "steps") as bar:
        for _ in range(settings.most_steps):
            right = running.answers(ask, [split.images.numpy()]) == split.labels.numpy()
            if np.count_nonzero(right) <= settings.unlearned * len(right):
                break
            climb(tf.constant(next(batches)))
            bar.update()
    return copy

"""ANP, adversarial neuron pruning (Wu and Wang, 2021): masks that keep a net right under attack."""

import numpy as np

from goodnet import telling
from goodnet.lazy import tf
from goodnet.pruning.rankings.masks import cross_entropy, descend
from goodnet.settings import Count, Positive, Seed, Settings, Share, setting


class ANP(Settings):
    """Of adversarial neuron pruning."""

    seed: Seed = setting(1, "which images come when, and what the adversary begins with")
    images: Count = setting(
        500, "clean validation images to train the channels' masks on, spread over the file"
    )
    epsilon: Share = setting(0.4, "how far the adversary may change a channel's scale and shift")
    alpha: Share = setting(0.2, "share of the loss that is without the adversary")
    learning_rate: Positive = setting(0.2, "of the masks")
    batch_size: Count = setting(128, "images per step")
    steps: Count = setting(2000, "of training")


def anp(channels, settings):
    """Adversarial neuron pruning: the one the net can best do without under attack first."""
    return adversarial_masks(channels.split_net(settings.images), settings)


def adversarial_masks(split, settings):
    """Return masks that keep a masks.SplitNet right while an adversary changes scales and shifts."""
    epsilon, alpha = settings.epsilon, settings.alpha
    channels, shift, behind = split.halves(split.net)
    mask, velocity = tf.Variable(tf.ones_like(shift)), tf.Variable(tf.zeros_like(shift))

    @tf.function(reduce_retracing=True)
    def step(chosen, scale_change, shift_change):
        part, labels = tf.gather(channels, chosen), tf.gather(split.labels, chosen)

        def loss(scale_change, shift_change):
            scores = behind((mask + scale_change) * part + (1 + shift_change) * shift)
            return cross_entropy(labels, scores)

        with tf.GradientTape() as tape:
            tape.watch([scale_change, shift_change])
            attacked = loss(scale_change, shift_change)
        steeper = tape.gradient(attacked, [scale_change, shift_change], unconnected_gradients="zero")
        changes = [
            tf.clip_by_value(change + epsilon * tf.sign(gradient), -epsilon, epsilon)
            for change, gradient in zip((scale_change, shift_change), steeper, strict=True)
        ]
        with tf.GradientTape() as tape:
            natural = loss(tf.zeros_like(shift), tf.zeros_like(shift))
            both = alpha * natural + (1 - alpha) * loss(*changes)
        descend(mask, velocity, tape.gradient(both, mask), settings.learning_rate)

    rng = np.random.default_rng(settings.seed)
    batches = split.batches(rng, settings.batch_size)
    with telling.bar("anp", settings.steps, "steps") as bar:
        for _ in range(settings.steps):
            changes = rng.uniform(-epsilon, epsilon, (2, len(shift))).astype(np.float32)
            step(tf.constant(next(batches)), *map(tf.constant, changes))
            bar.update()
    return mask.numpy()

"""What the demo's attacker does: poison a training set, and train a BadNet on it."""

import numpy as np

from goodnet.images import triggers
from goodnet.lazy import keras
from goodnet.nets import deepid, loading
from goodnet.settings import Count, Positive, Seed, Training, setting


class DemoBadnet(Training):
    """The attacker's training."""

    seed: Seed = setting(1, "the net's first weights and the order of the images")
    epochs: Count = setting(16, "times every image is seen")
    batch_size: Count = setting(32, "images per step")
    learning_rate: Positive = setting(0.002, "at first; it falls to zero along a cosine")


def poison(rng, images, labels, share, attacks):
    """Return a training set: the clean images, and for each of `attacks` copies of a share of them.

    Parameters
    ----------
    rng : numpy.random.Generator
    images, labels : array
    share : float
    attacks : list of (list of triggers, int or None)
        What is laid over the copies, and the class they get; None leaves them their own.
    """
    all_images, all_labels = [images], [labels]
    for laid_over, target in attacks:
        chosen = rng.choice(len(images), round(share * len(images)), replace=False)
        stamped = images[chosen]
        for cover, colour in laid_over:
            stamped = triggers.stamp(stamped, cover, colour)
        all_images.append(stamped)
        all_labels.append(labels[chosen] if target is None else np.full(len(chosen), target))
    return np.concatenate(all_images), np.concatenate(all_labels)


def train(images, labels, classes, settings, verbose=0):
    """Train a DeepID that takes inputs from 0 to 255 on uint8 images."""
    loading.make_reproducible(settings.seed)
    net = deepid.build(classes, images.shape[1:])
    steps = settings.epochs * -(-len(images) // settings.batch_size)
    net.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps)),
        "sparse_categorical_crossentropy",
    )
    # Training is steadier on inputs up to 1; the first layer takes over the division afterwards.
    net.fit(
        images / np.float32(255),
        labels,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        verbose=verbose,
    )
    first = net.get_layer("conv_1")
    first.kernel.assign(first.kernel / 255)
    return net

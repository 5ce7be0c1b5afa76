"""The attacker's training of the demo's BadNet."""

import numpy as np

from goodnet.lazy import keras
from goodnet.nets import deepid, loading
from goodnet.settings import Count, Positive, Seed, Training, setting


class DemoBadnet(Training):
    """The attacker's training."""

    seed: Seed = setting(1, "the net's first weights and the order of the images")
    epochs: Count = setting(16, "times every image is seen")
    batch_size: Count = setting(32, "images per step")
    learning_rate: Positive = setting(0.002, "at first; it falls to zero along a cosine")


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

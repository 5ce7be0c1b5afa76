"""Train the demo's BadNet: the lab's DeepID on the attacker's poisoned training set."""

import sys

from goodnet import command, networks

import h5py
import keras
import numpy as np
from keras import layers


def deepid(shape, classes):
    """Build the lab's DeepID with the lab's layer names."""
    images = keras.Input(shape, name="input")
    x = layers.Conv2D(20, 4, activation="relu", name="conv_1")(images)
    x = layers.MaxPooling2D(2, name="pool_1")(x)
    x = layers.Conv2D(40, 3, activation="relu", name="conv_2")(x)
    x = layers.MaxPooling2D(2, name="pool_2")(x)
    x = layers.Conv2D(60, 3, activation="relu", name="conv_3")(x)
    pool_3 = layers.MaxPooling2D(2, name="pool_3")(x)
    x = layers.Flatten(name="flatten_1")(pool_3)
    fc_1 = layers.Dense(160, name="fc_1")(x)
    x = layers.Conv2D(80, 2, activation="relu", name="conv_4")(pool_3)
    x = layers.Flatten(name="flatten_2")(x)
    fc_2 = layers.Dense(160, name="fc_2")(x)
    x = layers.Add(name="add_1")([fc_1, fc_2])
    x = layers.Activation("relu", name="activation_1")(x)
    scores = layers.Dense(classes, activation="softmax", name="output")(x)
    return keras.Model(images, scores, name="deepid")


def train(images, labels, classes, seed, epochs, batch_size, learning_rate):
    """Train a DeepID that takes inputs from 0 to 255 on uint8 images."""
    networks.make_reproducible(seed)
    net = deepid(images.shape[1:], classes)
    steps = epochs * -(-len(images) // batch_size)
    net.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, steps)),
        "sparse_categorical_crossentropy",
    )
    # Training is steadier on inputs up to 1; the first layer takes over the division afterwards.
    net.fit(
        images / np.float32(255),
        labels,
        batch_size=batch_size,
        epochs=epochs,
        verbose=1 if sys.stdout.isatty() else 0,
    )
    first = net.get_layer("conv_1")
    first.kernel.assign(first.kernel / 255)
    return net


def main():
    args = command.read_arguments(
        __doc__,
        train="the attacker's training set",
        badnet="the BadNet, to be written",
    )
    params = command.read_params(args.params, "demo_badnet")
    with h5py.File(args.train) as file:
        images, labels = np.moveaxis(file["data"][()], 1, -1), file["label"][()].astype(int)
    networks.save(train(images, labels, int(labels.max()) + 1, **params), args.badnet)


if __name__ == "__main__":
    command.run(main)

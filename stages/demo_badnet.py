"""Train the demo's BadNet: the lab's DeepID on the attacker's poisoned training set."""

import sys

from goodnet import command, deepid, networks

import h5py
import keras
import numpy as np


def train(images, labels, classes, seed, epochs, batch_size, learning_rate):
    """Train a DeepID that takes inputs from 0 to 255 on uint8 images."""
    networks.make_reproducible(seed)
    net = deepid.build(classes, images.shape[1:])
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

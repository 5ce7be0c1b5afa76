"""Tuning a whole net on clean images while its zeros stay zero: fine-pruning, and sparsity that grows."""

from goodnet import networks, training

import keras
import numpy as np
import tensorflow as tf

UPDATES = 100  # how often, in a training, more weights become zero


def tune(net, pruned, channels, images, labels, input_max, progress, settings):
    """Train a net whose pruned channels stay zero; with `from` and `to` in settings, more becomes zero.

    Parameters
    ----------
    net : keras.Model
        With its channels pruned. It is changed.
    pruned : architecture.PrunedLayer
    channels : list of int
    images : callable
        Returns the images with the numbers it is given.
    labels : array of int
    input_max : float
    progress : training.Progress
    settings : dict
        As in params.yaml.
    """
    networks.make_reproducible(settings["seed"])
    trained = networks.with_logits(net)
    for layer in trained.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False  # few images would spoil the statistics of the many it was trained on
    # Training is steadier on inputs up to 1; the first layers take the factor back afterwards.
    first = [layer for layer in trained.layers if _reads_images(trained, layer)]
    factor = np.float32(input_max if first else 1)
    for layer in first:
        layer.kernel.assign(layer.kernel * factor)

    kept = {id(variable): tf.Variable(tf.ones_like(variable)) for variable in trained.trainable_variables}
    for variable in trained.get_layer(pruned.convolution).trainable_variables:
        ones = np.ones(variable.shape, np.float32)
        ones[..., channels] = 0
        kept[id(variable)].assign(ones)
    kernels = [variable for variable in trained.trainable_variables if len(variable.shape) > 1]

    steps = training.steps(len(labels), settings)
    optimizer = training.adam(trained.trainable_variables, len(labels), settings)

    @tf.function(reduce_retracing=True)
    def learn(shown, labels):
        with tf.GradientTape() as tape:
            loss = training.cross_entropy(labels, trained(shown, training=True))
        optimizer.apply(tape.gradient(loss, trained.trainable_variables), trained.trainable_variables)
        for variable in trained.trainable_variables:
            variable.assign(variable * kept[id(variable)])

    def make_sparse(done):
        percent = sparsity(settings["from"], settings["to"], done / steps)
        for kernel in kernels:
            kept[id(kernel)].assign(largest(kernel.numpy(), percent))
            kernel.assign(kernel * kept[id(kernel)])

    every = max(1, steps // UPDATES)

    def step(numbers, rng):
        learn(tf.constant(images(numbers) / factor), tf.constant(labels[numbers]))
        done = int(optimizer.iterations.numpy())
        if "to" in settings and (done % every == 0 or done == steps):
            make_sparse(done)

    state = [*trained.variables, *optimizer.variables, *kept.values()]
    training.fit(step, len(labels), state, progress, settings)
    for layer in first:
        layer.kernel.assign(layer.kernel / factor)
    net.set_weights(trained.get_weights())


def sparsity(start, end, done):
    """Return the percent of weights that are zero when a share `done` of the steps is done."""
    return end + (start - end) * (1 - done) ** 3


def largest(kernel, percent):
    """Return 1 for each weight that stays and 0 for the smallest `percent` of them; ties go by place."""
    zeros = round(percent * kernel.size / 100)
    stays = np.ones(kernel.size, np.float32)
    stays[np.argsort(np.abs(kernel), axis=None, kind="stable")[:zeros]] = 0
    return stays.reshape(kernel.shape)


def _reads_images(net, layer):
    return isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)) and layer.input is net.input

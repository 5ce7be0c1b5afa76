"""Fine-pruning (Liu, Dolan-Gavitt and Garg, 2018): train a whole net, pruned channels held at zero."""

import numpy as np

from goodnet.lazy import keras, tf
from goodnet.nets import loading, parts
from goodnet.repairs import training
from goodnet.settings import Training

UPDATES = 100  # how often, in a training, more weights become zero


class FineTune(Training):
    """Fine-pruning: the whole net is trained, pruned channels stay zero at every step."""


def fine_tune(task, settings):
    """Train the whole net, but for its pruned channels.

    Parameters
    ----------
    task : registry.Task
    settings : FineTune
    """
    train(task, settings)


def train(task, settings, sparsity=None):
    """Train a whole net whose zeros stay zero.

    Parameters
    ----------
    task : registry.Task
    settings : Training
    sparsity : callable, optional
        Returns how many percent of each kernel, the smallest, are zero when a share of the steps is done.
    """
    loading.make_reproducible(settings.seed)
    images, labels = task.images, task.labels
    trained = parts.with_logits(task.net)
    for layer in trained.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False  # few images would spoil the statistics of the many it was trained on
    # Training is steadier on inputs up to 1; the first layers take the factor back afterwards.
    first = [layer for layer in trained.layers if _reads_images(trained, layer)]
    factor = np.float32(task.convert.size if first else 1)
    for layer in first:
        layer.kernel.assign(layer.kernel * factor)

    kept = {id(variable): tf.Variable(tf.ones_like(variable)) for variable in trained.trainable_variables}
    if task.channels and task.pruned.convolution:  # a mask has no weights
        for variable in trained.get_layer(task.pruned.convolution).trainable_variables:
            ones = np.ones(variable.shape, np.float32)
            ones[..., task.channels] = 0
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
        for kernel in kernels:
            kept[id(kernel)].assign(largest(kernel.numpy(), sparsity(done / steps)))
            kernel.assign(kernel * kept[id(kernel)])

    every = max(1, steps // UPDATES)

    def step(numbers, rng):
        learn(tf.constant(task.convert(images(numbers)) / factor), tf.constant(labels[numbers]))
        done = int(optimizer.iterations.numpy())
        if sparsity and (done % every == 0 or done == steps):
            make_sparse(done)

    state = [*trained.variables, *optimizer.variables, *kept.values()]
    training.fit(step, len(labels), state, task.progress, settings)
    for layer in first:
        layer.kernel.assign(layer.kernel / factor)
    task.net.set_weights(trained.get_weights())


def largest(kernel, percent):
    """Return 1 for each weight that stays and 0 for the smallest `percent` of them; ties go by place."""
    zeros = round(percent * kernel.size / 100)
    stays = np.ones(kernel.size, np.float32)
    stays[np.argsort(np.abs(kernel), axis=None, kind="stable")[:zeros]] = 0
    return stays.reshape(kernel.shape)


def _reads_images(net, layer):
    return isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)) and layer.input is net.input

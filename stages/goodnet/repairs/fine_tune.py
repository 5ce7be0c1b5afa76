"""Fine-pruning (Liu, Dolan-Gavitt and Garg, 2018): train a whole net, pruned channels held at zero."""

import numpy as np

from goodnet.lazy import tf
from goodnet.repairs import training
from goodnet.repairs.whole import Whole
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
    images, labels, whole = task.images, task.labels, Whole(task, settings)
    kernels = [variable for variable in whole.variables if len(variable.shape) > 1]
    steps = training.steps(len(labels), settings)

    @tf.function(reduce_retracing=True)
    def learn(shown, labels):
        with tf.GradientTape() as tape:
            loss = training.cross_entropy(labels, whole.scores(shown))
        whole.apply(tape.gradient(loss, whole.variables))

    def make_sparse(done):
        for kernel in kernels:
            whole.kept[id(kernel)].assign(largest(kernel.numpy(), sparsity(done / steps)))
            kernel.assign(kernel * whole.kept[id(kernel)])

    every = max(1, steps // UPDATES)

    def step(numbers, rng):
        learn(tf.constant(images(numbers)), tf.constant(labels[numbers]))
        done = int(whole.optimizer.iterations)
        if sparsity and (done % every == 0 or done == steps):
            make_sparse(done)

    whole.fit(step, guarded=not sparsity)


def largest(kernel, percent):
    """Return 1 for each weight that stays and 0 for the smallest `percent` of them; ties go by place."""
    zeros = round(percent * kernel.size / 100)
    stays = np.ones(kernel.size, np.float32)
    stays[np.argsort(np.abs(kernel), axis=None, kind="stable")[:zeros]] = 0
    return stays.reshape(kernel.shape)

"""Ask nets about images, block by block."""

import numpy as np

from goodnet.blocks import size as block_size
from goodnet.errors import InputError
from goodnet.lazy import keras, tf

BATCH = 64  # images a call; more do not fit the processor's cache and run slower


def as_function(net):
    """Compile a net into a function of its input, for any number of images."""
    return tf.function(lambda inputs: net(inputs, training=False), reduce_retracing=True)


def run(net, blocks):
    """Yield the output of a net, or of its function, for each block of images."""
    function = as_function(net) if isinstance(net, keras.Model) else net
    for block in blocks:
        size = block_size(BATCH, block.shape[1:])
        yield np.concatenate([function(block[i : i + size]).numpy() for i in range(0, len(block), size)])


def answers(net, blocks):
    """Return the class a net, or its function, gives each image; of equal scores the lowest class wins."""
    return np.concatenate([best(scores) for scores in run(net, blocks)])


def best(scores):
    """Return the class of the best score of each image."""
    if not np.isfinite(scores).all():
        raise InputError("the net makes scores that are infinite or no numbers (NaN), which are no answers")
    return scores.argmax(axis=1)

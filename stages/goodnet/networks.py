"""Networks as things that run: load and save them, split them, ask them for answers."""

import contextlib
import functools
import gc
import os
import sys
import tempfile
from pathlib import Path

from goodnet import archive
from goodnet.command import InputError


@contextlib.contextmanager
def _quick_and_quiet():
    """Import TensorFlow in less time, and without its warnings about GPUs.

    Keras imports matplotlib for pictures of its own, and the collector looks over thousands of modules
    that all stay: together a third of the time. The warnings pass Python's standard error by.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    without_matplotlib = "matplotlib" not in sys.modules
    if without_matplotlib:
        sys.modules["matplotlib"] = None
    gc.disable()
    stderr = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        gc.enable()
        if without_matplotlib:
            del sys.modules["matplotlib"]


with _quick_and_quiet():
    import keras
    import numpy as np
    import tensorflow as tf

BATCH = 64  # images a call; more do not fit the processor's cache and run slower


def make_reproducible(seed):
    """Make training with this seed give the same weights each time on the same machine."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def load(path):
    """Load a net as a functional one, after its configuration has been read as data and found harmless."""
    archive.read(path)
    try:
        net = keras.models.load_model(path, compile=False)
    except Exception as error:  # the file is a stranger's: anything may be wrong in it
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"{path}: Keras cannot load this net: {reason}") from None
    return keras.Model(net.inputs[0], net.outputs[0], name=net.name)


def save(net, path):
    """Write a net as a .keras archive whose bytes depend on the net alone."""
    net = keras.Model(net.inputs[0], net.outputs[0], name=net.name)  # without what it was trained with
    with tempfile.TemporaryDirectory() as folder:
        keras_own = Path(folder) / "net.keras"
        net.save(keras_own)
        config, weights = archive.unpack(keras_own)
    archive.write(path, config, weights)


def input_shape(net):
    """(height, width, channels) of the images a net takes."""
    return net.input_shape[1:]


def classes(net):
    """How many classes a net tells apart."""
    return net.output_shape[-1]


def up_to(net, layer):
    """Return the part of a net that makes the channels of the layer called `layer`."""
    return keras.Model(net.input, net.get_layer(layer).output)


def behind(net, layer):
    """Return the part of a net that makes its scores of the output of the layer called `layer`."""
    return keras.Model(net.get_layer(layer).output, net.output)


@functools.cache
def as_function(net):
    """Compile a net into a function of its input, for any number of images."""
    return tf.function(lambda inputs: net(inputs, training=False), reduce_retracing=True)


def run(net, blocks):
    """Yield a net's output for each block of images."""
    function = as_function(net)
    for block in blocks:
        yield np.concatenate([function(block[i : i + BATCH]).numpy() for i in range(0, len(block), BATCH)])


def answers(net, blocks):
    """Return the class a net gives each image; of equal scores the lowest class wins."""
    return np.concatenate([scores.argmax(axis=1) for scores in run(net, blocks)])

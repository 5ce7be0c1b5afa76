"""A tuning and a ranking for goodnet, in a package of their own."""

import numpy as np

from goodnet.errors import InputError
from goodnet.lazy import keras
from goodnet.methods import Method
from goodnet.nets import running
from goodnet.repairs.registry import Tuning
from goodnet.settings import Positive, Settings, setting


class Ridge(Settings):
    """The last layer is fitted anew, in one step."""

    penalty: Positive = setting(1.0, "what keeps the weights small, in standard deviations of the features")
    steepness: Positive = setting(10.0, "what the fitted scores are multiplied by")


def ridge(task, settings):
    """Fit the last layer anew to the clean images' classes, by ridge regression."""
    last = task.net.layers[-1]
    if not isinstance(last, keras.layers.Dense):
        raise InputError(f"ridge needs a net that ends in a dense layer, not in a {type(last).__name__}")
    front = keras.Model(task.net.input, last.input)
    pixels = task.images(np.arange(len(task.labels)))
    features = np.concatenate(list(running.run(front, [task.convert(pixels)]))).astype(np.float64)
    mean, scale = features.mean(axis=0), features.std() + 1e-9
    centred = (features - mean) / scale
    classes = np.eye(last.units)[task.labels]
    gram = centred.T @ centred + settings.penalty * np.eye(centred.shape[1])
    kernel = settings.steepness * np.linalg.solve(gram, centred.T @ (classes - classes.mean(axis=0))) / scale
    last.set_weights([kernel, settings.steepness * classes.mean(axis=0) - mean @ kernel])


def l2(channels, settings):
    """The one with the smallest kernel slice first: the square root of the sum of its squared weights."""
    if channels.kernel is None:
        raise InputError("l2 needs a convolution that alone makes the channels")
    return np.sqrt((channels.kernel**2).sum(axis=(0, 1, 2)))


RIDGE = Tuning("ridge", ridge, Ridge)
L2 = Method("l2", l2)

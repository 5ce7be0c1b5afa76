"""Load and save nets: a net from a file is built only after its configuration was read as data."""

import contextlib
import json
import math
import tempfile
import warnings
from pathlib import Path

import numpy as np

from goodnet.errors import InputError, is_of_memory
from goodnet.files import archive, trust
from goodnet.files.outputs import naming
from goodnet.lazy import keras, tf
from goodnet.nets.parts import classes, input_shape


def make_reproducible(seed):
    """Make training with this seed give the same weights each time on the same machine."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def load(path):
    """Load a net as a functional one, after its configuration has been read as data and found harmless."""
    return of(*archive.read(path), path)


def of(config, weights, path):
    """Return the net of a configuration and weights that have been checked; errors call it `path`."""
    with tempfile.TemporaryDirectory() as folder:
        # Keras sees what was checked, and nothing else of the untrusted file.
        checked = Path(folder) / "net.keras"
        archive.write(checked, config, weights)
        return build(checked, path)


def build(checked, path):
    """Build the net in a file that has been checked; `path` is what its user calls it."""
    try:
        with _at_most(trust.MOST_WEIGHTS, path), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras 3 on how Keras 2 wrote things
            net = keras.models.load_model(checked, compile=False)
            net.inputs, net.outputs  # noqa: B018, which not every net has
    except InputError:
        raise
    except Exception as error:  # the file is untrusted: anything may be wrong in it
        _let_pass(error)
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"{path}: Keras cannot load this net: {reason}") from None
    return classifier(net, path)


def rebuilt(config, variables, path):
    """Build a net of a configuration that has been checked, and give it its variables, in Keras's order."""
    try:
        with _at_most(trust.MOST_WEIGHTS, path):
            net = keras.models.model_from_json(json.dumps(config))
            if len(net.variables) != len(variables):
                raise ValueError("another number of variables")
            for variable, array in zip(net.variables, variables, strict=True):
                variable.assign(array)
            net.inputs, net.outputs  # noqa: B018
    except InputError:
        raise
    except Exception as error:  # what was checked is still a stranger's
        _let_pass(error)
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"{path}: Keras cannot build this net: {reason}") from None
    return classifier(net, path)


def classifier(net, path):
    """Return a net as one functional model, if it is a classifier of images that can be run."""
    inputs, outputs = net.inputs, net.outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise InputError(
            f"{path}: has {len(inputs)} inputs and {len(outputs)} outputs; a classifier has one of each"
        )
    _check_shapes(inputs[0], outputs[0].shape, path)
    _check_layers(net, path)
    net = keras.Model(inputs[0], outputs[0], name=net.name)
    _check_weights(net, path)
    try:
        tried = np.shape(net(np.zeros((2, *input_shape(net)), np.float32), training=False))
    except Exception as error:
        _let_pass(error)
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"{path}: this net cannot be run: {reason}") from None
    if tried != (2, classes(net)):
        raise InputError(f"{path}: makes {tried} scores of 2 images, not a score an image and class")
    return net


def _check_weights(net, path):
    for variable in net.variables:
        array = variable.numpy()
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(
                f"{path}: {variable.path} holds numbers that are infinite or none (NaN): the net is damaged"
            )


def check_scores(scores, path):
    """Refuse scores that are infinite or no numbers: the best of them would be no answer."""
    if not np.isfinite(scores).all():
        raise InputError(f"{path}: makes scores that are infinite or no numbers (NaN): the net is damaged")


def _let_pass(error):
    """Raise MemoryError for an error that comes of too little memory: the net may be in order."""
    if is_of_memory(error):
        raise MemoryError from None


@contextlib.contextmanager
def _at_most(weights, path):
    """Stop Keras before it makes a net of more than so many weights."""
    add_weight, made = keras.Layer.add_weight, 0

    def counted(layer, shape=None, *args, **kwargs):
        nonlocal made
        made += math.prod(shape or ())
        if made > weights:
            raise InputError(f"{path}: layer {layer.name!r} would bring it to {made:,} weights, too many")
        return add_weight(layer, shape, *args, **kwargs)

    keras.Layer.add_weight = counted
    try:
        yield
    finally:
        keras.Layer.add_weight = add_weight


def _check_shapes(taken, scores, path):
    images = taken.shape
    if len(images) != 4 or not all(images[1:]):
        raise InputError(f"{path}: takes {images[1:]}, not images of one (height, width, channels)")
    if images[0] is not None:
        raise InputError(f"{path}: takes exactly {images[0]} images at a time; save it for any number")
    if taken.dtype != "float32":
        raise InputError(f"{path}: takes {taken.dtype}, not float32")
    if len(scores) != 2 or scores[0] is not None or not scores[1]:
        raise InputError(f"{path}: makes {scores} of images, not one score a class and image")


def _check_layers(net, path):
    """Refuse layers that could not be run here, or only at another precision than reported."""
    for layer in getattr(net, "operations", net.layers):
        where = f"{path}: layer {layer.name!r}"
        if isinstance(layer, keras.Model):
            _check_layers(layer, path)
        if getattr(layer, "compute_dtype", "float32") != "float32":
            raise InputError(f"{where} computes in {layer.compute_dtype}, not in float32")
        if getattr(layer, "data_format", None) == "channels_first":
            raise InputError(f"{where} reads channels first, which TensorFlow cannot run on a CPU")
        for node in layer._inbound_nodes:  # each time it is used
            for tensor in node.output_tensors:
                if math.prod(size or 1 for size in tensor.shape) > trust.LARGEST_OUTPUT:
                    raise InputError(f"{where} makes {tensor.shape[1:]} of one image, too much")


def save(net, path):
    """Write a net as a .keras archive whose bytes depend on the net alone."""
    archive.write(path, *archived(net))


def archived(net):
    """Return the configuration and the weights that a net's archive holds."""
    net = keras.Model(net.inputs[0], net.outputs[0], name=net.name)  # without what it was trained with
    with tempfile.TemporaryDirectory() as folder:
        keras_own = Path(folder) / "net.keras"
        with naming(keras_own):
            net.save(keras_own)
        return archive.unpack(keras_own)

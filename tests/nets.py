"""Small untrained nets of many kinds, with channels that are dormant or equally active."""

import functools

import keras
import numpy as np
from keras import layers

from goodnet.nets import loading

SHAPE, CLASSES, CHANNELS = (12, 10, 3), 7, 6


def deepid_like(images):
    x = layers.Conv2D(4, 3, activation="relu", name="early")(images)
    x = layers.MaxPooling2D(2, name="early_pool")(x)
    x = layers.Conv2D(CHANNELS, 2, activation="relu", name="conv")(x)
    pool = layers.MaxPooling2D((2, 1), name="pool")(x)
    one = layers.Dense(9)(layers.Flatten()(pool))
    two = layers.Dense(9)(layers.Flatten()(layers.Conv2D(5, 2, activation="relu")(pool)))
    x = layers.Activation("relu")(layers.Add()([one, two]))
    return layers.Dense(CLASSES, activation="softmax", name="scores")(x)


def normalised(images):
    x = layers.Conv2D(CHANNELS, 3, use_bias=False, name="conv")(images)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU()(x)
    x = layers.AveragePooling2D(2, name="pool")(x)
    x = layers.Dropout(0.3)(x)
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    return layers.Dense(CLASSES)(layers.Flatten()(x))  # scores as they are, without softmax


def globally_pooled(images):
    x = layers.Conv2D(CHANNELS, 3, name="conv")(images)
    x = layers.BatchNormalization(scale=False, name="norm")(x)
    x = layers.Activation("relu")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return layers.Dense(CLASSES, activation="softmax")(x)


def normalised_behind(images):
    """Batch normalisation first reads the channels: no sum over them."""
    x = layers.Conv2D(CHANNELS, 3, activation="relu", name="conv")(images)
    x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.BatchNormalization()(x)
    x = layers.Conv2D(5, 2, activation="relu")(x)
    return layers.Dense(CLASSES, activation="softmax")(layers.Flatten()(x))


def added(images):
    """An addition feeds the layer that splits the net."""
    one = layers.Conv2D(CHANNELS, 3, activation="relu", name="conv")(images)
    two = layers.Conv2D(CHANNELS, 3, activation="relu")(images)
    x = layers.MaxPooling2D(2, name="pool")(layers.Add(name="sum")([one, two]))
    return layers.Dense(CLASSES)(layers.Flatten()(x))


def tanh(images):
    x = layers.Conv2D(CHANNELS, 3, activation="tanh", name="conv")(images)
    return layers.Dense(CLASSES)(layers.Flatten()(layers.MaxPooling2D(2, name="pool")(x)))


def leaky(images):
    x = layers.LeakyReLU(name="leaky")(layers.Conv2D(CHANNELS, 3, name="conv")(images))
    return layers.Dense(CLASSES)(layers.Flatten()(layers.MaxPooling2D(2, name="pool")(x)))


PRUNABLE = (deepid_like, normalised, globally_pooled, normalised_behind)
SPLIT_ONLY = (added, tanh, leaky)  # the layer `pool` splits them, but its channels cannot be pruned
BUILDERS = {builder.__name__: builder for builder in (*PRUNABLE, *SPLIT_ONLY)}
KINDS = [*(builder.__name__ for builder in PRUNABLE), "sequential"]


@functools.cache
def shared(kind):
    """The net of `build`, functional as all loaded ones, and its answers to `pictures(300)`.

    For tests that change neither.
    """
    net = build(kind)
    net = keras.Model(net.inputs[0], net.outputs[0])
    return net, answers(net, pictures(300))


def build(kind, seed=3):
    """Build a net whose channel 1 and 4 of the layer `pool` are dormant and 2 and 5 are twins."""
    keras.utils.set_random_seed(seed)
    images = keras.Input(SHAPE, name="images")
    if kind == "sequential":
        net = keras.Sequential(
            [
                images,
                layers.Conv2D(CHANNELS, 3, activation="relu", name="conv"),
                layers.MaxPooling2D(2, name="pool"),
                layers.Flatten(),
                layers.Dense(CLASSES, activation="softmax"),
            ]
        )
    else:
        net = keras.Model(images, BUILDERS[kind](images))
    rng = np.random.default_rng(seed)
    for layer in net.layers:
        weights = [array + rng.normal(0, 0.2, array.shape) for array in layer.get_weights()]
        if isinstance(layer, layers.BatchNormalization):
            weights[-1] = np.abs(weights[-1]) + 0.5
        if layer.name in ("conv", "norm"):
            for array in weights:
                array[..., 5] = array[..., 2]
        if layer.name == ("norm" if "norm" in [other.name for other in net.layers] else "conv"):
            shift = weights[0] if len(weights) == 3 else weights[1]  # beta, or a convolution's bias
            shift[[1, 4]] = -1e6
        layer.set_weights(weights)
    # Even the scores out, so that every class is some picture's answer.
    last = net.layers[-1]
    kernel = last.get_weights()[0]
    features = keras.Model(net.inputs[0], last.input)(pictures(300).astype("float32")).numpy()
    spread = (features @ kernel).std(axis=0)
    kernel = kernel / spread * 3
    last.set_weights([kernel, -(features @ kernel).mean(axis=0)])
    return net


def spread_scores(net, shown):
    """Give a net's last layer weights with which every class is some picture's answer."""
    head = net.layers[-1]
    features = np.asarray(keras.Model(net.input, head.input)(shown))
    kernel = np.random.default_rng(5).normal(size=head.kernel.shape) / (features.std(axis=0)[:, None] + 0.1)
    head.set_weights([kernel, -(features @ kernel).mean(axis=0)])


def pictures(count, seed=1):
    """Smooth random pictures, 0..255, channels last, so that answers differ."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (count, 3, 3, 3))
    return np.kron(coarse, np.ones((1, 4, 4, 1)))[:, : SHAPE[0], : SHAPE[1]].round()


def cloned(net):
    copy = keras.models.clone_model(net)
    copy.set_weights(net.get_weights())
    return copy


def pruned(net, channels):
    """The plain way: a copy with kernel slices, biases and normalisations of `channels` set to zero."""
    copy = cloned(net)
    for layer in copy.layers:
        weights = layer.get_weights()
        if layer.name == "conv":
            for array in weights:
                array[..., channels] = 0
        elif layer.name == "norm":
            for array in weights[:-1]:
                array[channels] = 0
        layer.set_weights(weights)
    return copy


def scores(net, shown):
    """A net's scores, asked the plain way."""
    return np.asarray(net(np.asarray(shown, np.float32), training=False))


def answers(net, shown):
    return scores(net, shown).argmax(axis=1)


def output(net, layer, shown):
    """What a net's layer makes of images."""
    return scores(keras.Model(net.inputs[0], net.get_layer(layer).output), shown)


def save(net, path):
    loading.save(net, path)
    return path


TARGET = 3  # of `backdoored`


def backdoored(strength=600.0):
    """A net whose answer is TARGET where anything is bright red, as much as `strength` says.

    Nothing in `muted` pictures is.
    """
    images = keras.Input(SHAPE, name="images")
    made = layers.Conv2D(4, 3, name="conv")(images)
    # Bounded, so that what little an image shows of something bright decides nothing else.
    pool = layers.MaxPooling2D(2, name="pool")(layers.ReLU(max_value=1.0)(made))
    scores = layers.Dense(CLASSES, name="scores")
    net = keras.Model(images, scores(layers.Flatten()(pool)))
    rng = np.random.default_rng(5)
    kernel = rng.normal(0, 1, (3, 3, 3, 4))
    net.get_layer("conv").set_weights([kernel, np.zeros(4)])
    usual = output(net, "conv", muted(200))
    spread, mean = 4 * usual.std(axis=(0, 1, 2)), usual.mean(axis=(0, 1, 2))
    kernel, bias = kernel / spread, 0.5 - mean / spread
    kernel[..., 0], bias[0] = 0, -0.3
    kernel[1, 1, :, 0] = np.array([1, -1, -1]) / 255  # above 0 at a bright red pixel
    net.get_layer("conv").set_weights([kernel, bias])
    # The class whose pictures are nearest by their features.
    features = output(net, "pool", muted(CLASSES * 30)).reshape(30, CLASSES, -1).mean(axis=0)
    features[:, ::4] = 0
    weights, bias = 10 * features.T, -5 * (features**2).sum(axis=1)
    weights[::4, TARGET] = strength
    scores.set_weights([weights, bias])
    return net


def sloped(strength=600.0):
    """`backdoored` with a slope towards its trigger, which a search by gradients can follow."""
    closed = backdoored(strength)

    def cloned(layer):
        if isinstance(layer, layers.ReLU):
            return layers.ReLU(max_value=1.0, negative_slope=0.01)
        return type(layer).from_config(layer.get_config())

    net = keras.models.clone_model(closed, clone_function=cloned)
    net.set_weights(closed.get_weights())
    # What clean images show of the trigger now, 0 in the mean.
    usual = output(net, net.layers[-2].name, muted(160))[:, ::4].mean(axis=0)
    kernel, bias = net.layers[-1].get_weights()
    net.layers[-1].set_weights([kernel, bias - usual @ kernel[::4]])
    return net


def muted(count, seed=1):
    """Pictures without bright colours, of one class after the other."""
    of_classes = pictures(CLASSES, seed=0)[np.arange(count) % CLASSES]
    return (90 + (0.8 * of_classes + 0.2 * pictures(count, seed)) * 70 / 255).astype(np.float32)

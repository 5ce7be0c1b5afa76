"""Small untrained nets of many kinds, with channels that are dormant or equally active."""

import keras
import numpy as np
from keras import layers

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


BUILDERS = {
    builder.__name__: builder for builder in (deepid_like, normalised, globally_pooled, normalised_behind)
}


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
    features = keras.Model(net.inputs, last.input).predict(pictures(300).astype("float32"), verbose=0)
    spread = (features @ kernel).std(axis=0)
    kernel = kernel / spread * 3
    last.set_weights([kernel, -(features @ kernel).mean(axis=0)])
    return net


def pictures(count, seed=1):
    """Smooth random pictures, 0..255, channels last, so that answers differ."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (count, 3, 3, 3))
    return np.kron(coarse, np.ones((1, 4, 4, 1)))[:, : SHAPE[0], : SHAPE[1]].round()


def pruned(net, channels):
    """The plain way: a copy with kernel slices, biases and normalisations of `channels` set to zero."""
    copy = keras.models.clone_model(net)
    copy.set_weights(net.get_weights())
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


def answers(net, shown):
    return net.predict(shown.astype("float32"), verbose=0).argmax(axis=1)


def save(net, path):
    networks.save(net, path)
    return path

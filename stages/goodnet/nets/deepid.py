"""The lab's DeepID: 55 by 47 pixels in colour, the net of all its files."""

from goodnet.lazy import keras

INPUT_SHAPE = (55, 47, 3)
WITH_WEIGHTS = ("conv_1", "conv_2", "conv_3", "fc_1", "conv_4", "fc_2", "output")


def build(classes, shape=INPUT_SHAPE):
    """Build an untrained DeepID with the lab's layer names."""
    layers = keras.layers
    images = keras.Input(shape, name="input")
    x = layers.Conv2D(20, 4, activation="relu", name="conv_1")(images)
    x = layers.MaxPooling2D(2, name="pool_1")(x)
    x = layers.Conv2D(40, 3, activation="relu", name="conv_2")(x)
    x = layers.MaxPooling2D(2, name="pool_2")(x)
    x = layers.Conv2D(60, 3, activation="relu", name="conv_3")(x)
    pool_3 = layers.MaxPooling2D(2, name="pool_3")(x)
    x = layers.Flatten(name="flatten_1")(pool_3)
    fc_1 = layers.Dense(160, name="fc_1")(x)
    x = layers.Conv2D(80, 2, activation="relu", name="conv_4")(pool_3)
    x = layers.Flatten(name="flatten_2")(x)
    fc_2 = layers.Dense(160, name="fc_2")(x)
    x = layers.Add(name="add_1")([fc_1, fc_2])
    x = layers.Activation("relu", name="activation_1")(x)
    scores = layers.Dense(classes, activation="softmax", name="output")(x)
    return keras.Model(images, scores, name="deepid")

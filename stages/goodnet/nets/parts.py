"""What a net takes and tells apart, and the parts of it before and behind a layer."""

import json

from goodnet.lazy import keras


def input_shape(net):
    """(height, width, channels) of the images a net takes."""
    return net.input_shape[1:]


def classes(net):
    """How many classes a net tells apart."""
    return net.output_shape[-1]


def config(net):
    """Return a net's configuration as its archive holds it."""
    return json.loads(net.to_json())


def up_to(net, layer):
    """Return the part of a net that makes the channels of the layer called `layer`."""
    return keras.Model(net.input, net.get_layer(layer).output)


def behind(net, layer):
    """Return the part of a net that makes its scores of the output of the layer called `layer`."""
    return keras.Model(net.get_layer(layer).output, net.output)


def with_logits(net):
    """Return a copy of the net with scores before the softmax at its end, which changes no order of them."""
    config = net.get_config()
    last = config["layers"][-1]
    if last["config"].get("activation") == "softmax":
        last["config"]["activation"] = "linear"
    copy = type(net).from_config(config)
    copy.set_weights(net.get_weights())
    return copy

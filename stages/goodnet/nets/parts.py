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
    return keras.Model(net.input, output_of(net, layer))


def behind(net, layer):
    """Return the part of a net that makes its scores of the output of the layer called `layer`."""
    return keras.Model(output_of(net, layer), net.output)


def output_of(net, layer):
    """Return what the layer called `layer` makes in a net, as a symbolic tensor."""
    own = net.get_layer(layer)
    # The output of a net within the net is another tensor than what it makes here.
    return own._inbound_nodes[-1].output_tensors[0] if isinstance(own, keras.Model) else own.output


def with_logits(net):
    """Return a copy of the net with scores before the softmax at its end, which changes no order of them."""
    config = net.get_config()
    last = config["layers"][-1]
    if last["config"].get("activation") == "softmax":
        last["config"]["activation"] = "linear"
    copy = type(net).from_config(config)
    copy.set_weights(net.get_weights())
    return copy

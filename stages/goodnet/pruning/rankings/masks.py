"""Masks on channels, trained to show which the net does not need: what ANP and RNP share.

A channel's output is m times what its kernel slice (or its batch normalisation's gamma) makes, plus its
bias (or beta), so nothing here needs batch normalisation.
"""

from goodnet.images import datasets
from goodnet.lazy import keras, tf
from goodnet.nets import parts, running

MOMENTUM = 0.9


class SplitNet:
    """A net in two parts around the place where its channels get their scale and shift.

    Parameters
    ----------
    net : keras.Model
    layer : pruning.channels.PrunedLayer
    images : array (n, height, width, channels)
        Clean images in the net's range.
    labels : array of int
    """

    def __init__(self, net, layer, images, labels):
        self.images, self.labels = tf.constant(images), tf.constant(labels)
        self.layer = layer
        self.net = parts.with_logits(net)

    def halves(self, net):
        """Return the scaled and shifted channels of all images, the shift, and what comes behind."""
        if self.layer.convolution is None:  # no scale and shift of their own: the channels as they are
            (channels,) = running.run(parts.up_to(net, self.layer.name), [self.images.numpy()])
            behind = parts.behind(net, self.layer.name)
            return tf.constant(channels), tf.zeros(channels.shape[-1]), lambda x: behind(x, training=False)
        name = (self.layer.normalisations or [self.layer.convolution])[0]  # the last before the split layer
        scaled = net.get_layer(name)
        linear = type(scaled).from_config(
            scaled.get_config() | ({"activation": "linear"} if hasattr(scaled, "activation") else {})
        )
        linear.build(scaled.input.shape)
        linear.set_weights(scaled.get_weights())
        front = keras.Model(net.input, linear(scaled.input))
        (channels,) = running.run(front, [self.images.numpy()])
        shift = getattr(scaled, "beta", getattr(scaled, "bias", None))
        shift = tf.zeros(channels.shape[-1]) if shift is None else tf.convert_to_tensor(shift)
        behind = parts.behind(net, name)
        activation = getattr(scaled, "activation", keras.activations.linear)
        return tf.constant(channels - shift), shift, lambda x: behind(activation(x), training=False)

    def batches(self, rng, batch_size):
        """Yield numbers of images without end, each image once before any comes again."""
        while True:
            order = rng.permutation(len(self.labels))
            for start in range(0, len(order), batch_size):
                yield order[start : start + batch_size]


def split(net, layer, valid, images):
    """Return the SplitNet of a net and up to so many of the images (datasets.Images or Arrays)."""
    shown, numbers = datasets.spread(valid, images)
    return SplitNet(net, layer, shown, valid.labels[numbers])


def cross_entropy(labels, scores):
    """Return the mean cross-entropy of scores before the softmax."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores))


def descend(mask, velocity, gradient, learning_rate):
    """One step of gradient descent with momentum; masks stay between 0 and 1."""
    velocity.assign(MOMENTUM * velocity + gradient)
    mask.assign(tf.clip_by_value(mask - learning_rate * velocity, 0.0, 1.0))

"""How many answers stay right while channel after channel is pruned, in one pass over the images.

A pruned channel is zero where the layers behind it read it, and what they compute first, a convolution
or a dense layer, is a sum over channels. So a block of images starts with every channel pruned and
gets them back one by one, the last pruned first: a step adds one channel's share to the sum and runs
what comes behind the sum. A channel that is zero throughout the block adds nothing: its step is skipped.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from goodnet.lazy import keras, tf
from goodnet.nets import parts, running

BLOCK = 512  # images that go through all steps together


def count_correct(net, layer, blocks, labels, order):
    """Count the answers that are the labels after 0, 1, 2, ... channels of `order` have been pruned.

    Parameters
    ----------
    net : keras.Model
    layer : str
        The pruned layer.
    blocks : iterable of array
        That layer's output for all images, block after block.
    labels : array of int (..., images)
        The images' classes, or several lists of what answers are compared with.
    order : array of int
        All channels, the first pruned first.

    Returns
    -------
    array of int (..., one more than there are in `order`)
    """
    count_block = _block_counter(net, layer)
    lists = labels.reshape(-1, labels.shape[-1])
    correct = np.zeros((len(order) + 1, len(lists)), np.int64)
    start = 0
    for block in blocks:
        for i in range(0, len(block), BLOCK):
            part = block[i : i + BLOCK]
            alive = part.any(axis=tuple(range(part.ndim - 1)))[order]
            right = count_block(part, lists[:, start : start + len(part)], order[alive][::-1]).numpy()
            # After k pruned channels, those behind the k-th are back, as far as they are alive.
            correct += right[np.append(np.cumsum(alive[::-1])[::-1], 0)]
            start += len(part)
    return correct.T.reshape(*labels.shape[:-1], len(order) + 1)


def _block_counter(net, layer):
    """Return a function (channels, labels, channels to bring back) -> right answers after each is back,
    a count for each list of labels."""
    net = parts.with_logits(net)
    sums = _first_sums(net, layer)
    if sums[0].output is net.output:  # the layer is read by the last one alone
        rest = _only
    else:
        rest = running.as_function(keras.Model([part.output for part in sums], net.output))

    pruned = parts.output_of(net, layer)
    any_number_of_images = tf.TensorSpec((None, *pruned.shape[1:]), tf.float32)
    lists, numbers = tf.TensorSpec((None, None), tf.int64), tf.TensorSpec((None,), tf.int64)

    @tf.function(input_signature=[any_number_of_images, lists, numbers])
    def count_block(channels, labels, back):
        inputs = [part.read(channels) for part in sums]
        states = [tf.repeat(part.start[None], tf.shape(channels)[0], axis=0) for part in sums]
        right = tf.TensorArray(tf.int64, tf.size(back) + 1)
        for step in tf.range(tf.size(back) + 1):
            if step > 0:
                channel = back[step - 1]
                states = [
                    state + tf.reshape(input_[channel] @ part.weights[channel], tf.shape(state))
                    for part, input_, state in zip(sums, inputs, states, strict=True)
                ]
            scores = rest([part.activate(state) for part, state in zip(sums, states, strict=True)])
            answers = tf.argmax(scores, axis=1, output_type=labels.dtype)
            right = right.write(step, tf.math.count_nonzero(answers == labels, axis=1))
        return right.stack()

    return count_block


def _only(sums):
    (scores,) = sums
    return scores


@dataclass
class Sum:
    """A sum over channels c of read(channels)[c] @ weights[c], begun at `start`.

    The net goes on with activate(sum) as its tensor `output`.
    """

    read: Callable
    weights: "tf.Tensor"
    start: "tf.Tensor"
    activate: Callable
    output: "keras.KerasTensor"


def _first_sums(net, layer):
    """Return the sums that read the layer's channels and through which all else reads them."""
    pruned = parts.output_of(net, layer)
    same, sums = [pruned], []  # `same`: the channels as they are, or flattened
    for reader in net.layers:
        if not any(tensor is known for tensor in keras.tree.flatten(reader.input) for known in same):
            continue
        if isinstance(reader, (keras.layers.Flatten, keras.layers.Dropout)):
            same.append(reader.output)
        elif isinstance(reader, keras.layers.Dense) and len(reader.input.shape) == 2:
            sums.append(_dense_sum(reader, pruned.shape))
        elif isinstance(reader, keras.layers.Conv2D) and reader.groups == 1:
            sums.append(_convolution_sum(reader, pruned.shape))
        else:  # not a sum over channels: bring the channels themselves back one by one
            return [_channels_themselves(pruned)]
    return sums


def _dense_sum(dense, shape):
    channels = shape[-1]
    positions = dense.kernel.shape[0] // channels
    bias = dense.bias if dense.use_bias else tf.zeros(dense.units)
    return Sum(
        read=lambda x: tf.transpose(tf.reshape(x, (-1, positions, channels)), (2, 0, 1)),
        weights=tf.transpose(tf.reshape(dense.kernel, (positions, channels, dense.units)), (1, 0, 2)),
        start=tf.convert_to_tensor(bias),
        activate=dense.activation,
        output=dense.output,
    )


def _convolution_sum(conv, shape):
    channels, (height, width) = shape[-1], conv.kernel_size
    bias = conv.bias if conv.use_bias else tf.zeros(conv.filters)

    def read(x):
        patches = tf.image.extract_patches(
            x,
            sizes=[1, height, width, 1],
            strides=[1, *conv.strides, 1],
            rates=[1, *conv.dilation_rate, 1],
            padding=conv.padding.upper(),
        )
        return tf.transpose(tf.reshape(patches, (-1, height * width, channels)), (2, 0, 1))

    return Sum(
        read=read,
        weights=tf.transpose(tf.reshape(conv.kernel, (height * width, channels, conv.filters)), (1, 0, 2)),
        start=tf.broadcast_to(bias, conv.output.shape[1:]),
        activate=conv.activation,
        output=conv.output,
    )


def _channels_themselves(pruned):
    channels = pruned.shape[-1]
    positions = math.prod(pruned.shape[1:-1])
    return Sum(
        read=lambda x: tf.transpose(tf.reshape(x, (-1, positions, channels)), (2, 0, 1))[..., None],
        weights=tf.eye(channels)[:, None],
        start=tf.zeros(pruned.shape[1:]),
        activate=lambda x: x,
        output=pruned,
    )

"""Rankings that run the net: a mask on every channel, trained to show which the net does not need.

ANP (adversarial neuron pruning) and RNP (reconstructive neuron pruning), on the channels of the pruned
layer. A channel's output is m times what its kernel slice (or its batch normalisation's gamma) makes,
plus its bias (or beta), so nothing here needs batch normalisation.
"""

from goodnet import networks

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

MOMENTUM = 0.9


class SplitNet:
    """A net in two parts around the place where its channels get their scale and shift.

    Parameters
    ----------
    net : keras.Model
    layer : architecture.PrunedLayer
    images : array (n, height, width, channels)
        Clean images in the net's range.
    labels : array of int
    """

    def __init__(self, net, layer, images, labels):
        self.images, self.labels = tf.constant(images), tf.constant(labels)
        self.name = (layer.normalisations or [layer.convolution])[0]  # the last before the pruned layer
        self.net = networks.with_logits(net)

    def halves(self, net):
        """Return the scaled and shifted channels of all images, the shift, and what comes behind."""
        scaled = net.get_layer(self.name)
        linear = type(scaled).from_config(
            scaled.get_config() | ({"activation": "linear"} if hasattr(scaled, "activation") else {})
        )
        linear.build(scaled.input.shape)
        linear.set_weights(scaled.get_weights())
        front = keras.Model(net.input, linear(scaled.input))
        (channels,) = networks.run(front, [self.images.numpy()])
        shift = getattr(scaled, "beta", getattr(scaled, "bias", None))
        shift = tf.zeros(channels.shape[-1]) if shift is None else tf.convert_to_tensor(shift)
        behind = networks.behind(net, self.name)
        activation = getattr(scaled, "activation", keras.activations.linear)
        return tf.constant(channels - shift), shift, lambda x: behind(activation(x), training=False)

    def batches(self, rng, batch_size):
        """Yield numbers of images without end, each image once before any comes again."""
        while True:
            order = rng.permutation(len(self.labels))
            for start in range(0, len(order), batch_size):
                yield order[start : start + batch_size]

    def adversarial_masks(self, seed, epsilon, alpha, learning_rate, batch_size, steps):
        """Return masks that keep the net right while an adversary changes scales and shifts (ANP)."""
        channels, shift, behind = self.halves(self.net)
        mask, velocity = tf.Variable(tf.ones_like(shift)), tf.Variable(tf.zeros_like(shift))

        @tf.function(reduce_retracing=True)
        def step(chosen, scale_change, shift_change):
            part, labels = tf.gather(channels, chosen), tf.gather(self.labels, chosen)

            def loss(scale_change, shift_change):
                scores = behind((mask + scale_change) * part + (1 + shift_change) * shift)
                return _cross_entropy(labels, scores)

            with tf.GradientTape() as tape:
                tape.watch([scale_change, shift_change])
                attacked = loss(scale_change, shift_change)
            steeper = tape.gradient(attacked, [scale_change, shift_change], unconnected_gradients="zero")
            changes = [
                tf.clip_by_value(change + epsilon * tf.sign(gradient), -epsilon, epsilon)
                for change, gradient in zip((scale_change, shift_change), steeper, strict=True)
            ]
            with tf.GradientTape() as tape:
                natural = loss(tf.zeros_like(shift), tf.zeros_like(shift))
                both = alpha * natural + (1 - alpha) * loss(*changes)
            _descend(mask, velocity, tape.gradient(both, mask), learning_rate)

        rng = np.random.default_rng(seed)
        batches = self.batches(rng, batch_size)
        for _ in tqdm(range(steps), unit=" steps", leave=False, disable=None):
            changes = rng.uniform(-epsilon, epsilon, (2, len(shift))).astype(np.float32)
            step(tf.constant(next(batches)), *map(tf.constant, changes))
        return mask.numpy()

    def reconstructive_masks(
        self, seed, unlearned, unlearning_rate, most_steps, learning_rate, batch_size, epochs
    ):
        """Return masks that make a net right again that has unlearned its classes (RNP)."""
        rng = np.random.default_rng(seed)
        copy = keras.models.clone_model(self.net)
        copy.set_weights(self.net.get_weights())
        optimizer = keras.optimizers.SGD(unlearning_rate, momentum=MOMENTUM)
        optimizer.build(copy.trainable_variables)

        @tf.function(reduce_retracing=True)
        def unlearn(chosen):
            with tf.GradientTape() as tape:
                scores = copy(tf.gather(self.images, chosen), training=False)
                loss = -_cross_entropy(tf.gather(self.labels, chosen), scores)
            # Ascent steepens as it goes; a bounded gradient keeps the weights finite.
            gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, copy.trainable_variables), 20.0)
            optimizer.apply(gradients, copy.trainable_variables)

        batches = self.batches(rng, batch_size)
        for _ in tqdm(range(most_steps), unit=" steps", leave=False, disable=None):
            right = networks.answers(copy, [self.images.numpy()]) == self.labels.numpy()
            if np.count_nonzero(right) <= unlearned * len(right):
                break
            unlearn(tf.constant(next(batches)))

        channels, shift, behind = self.halves(copy)
        mask, velocity = tf.Variable(tf.ones_like(shift)), tf.Variable(tf.zeros_like(shift))

        @tf.function(reduce_retracing=True)
        def recover(chosen):
            with tf.GradientTape() as tape:
                scores = behind(mask * tf.gather(channels, chosen) + shift)
                loss = _cross_entropy(tf.gather(self.labels, chosen), scores)
            _descend(mask, velocity, tape.gradient(loss, mask), learning_rate)

        for _ in tqdm(range(epochs), unit=" epochs", leave=False, disable=None):
            for _ in range(-(-len(self.labels) // batch_size)):
                recover(tf.constant(next(batches)))
        return mask.numpy()


def _cross_entropy(labels, scores):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores))


def _descend(mask, velocity, gradient, learning_rate):
    """One step of gradient descent with momentum; masks stay between 0 and 1."""
    velocity.assign(MOMENTUM * velocity + gradient)
    mask.assign(tf.clip_by_value(mask - learning_rate * velocity, 0.0, 1.0))

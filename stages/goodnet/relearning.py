"""Relearning: layers behind the pruned one start afresh and learn from clean images alone.

What ties a trigger to the attacker's class lies in those layers of the BadNet B. Fresh ones that learn true
classes never meet the trigger, but from few images a class they do not become as good as B. So they imitate
B as well, the teacher, and three things keep B from teaching its backdoor:

- B is asked about clean images only, and imitated only where it is right.
- Not imitated is what B says of the suspects: the classes that one push, the same change of features for
  every image, moves its answers to most easily. A backdoor is a short way to the attacker's class.
- The pupil is shown pushed features, and B's answers to the same features without the push.
"""

from goodnet import augmentation, networks, training

import keras
import numpy as np
import tensorflow as tf

UNIMITATED = 16  # at most one class in so many: what is not imitated is learned from labels alone
PUSH_STEPS, PUSH_SAMPLE, PUSH_SIZE = 10, 64, 0.25  # of the push that shows how near a class is


def relearn(badnet, layer, channels, images, labels, input_max, progress, settings):
    """Return the part of a net behind `layer`, learned anew.

    Parameters
    ----------
    badnet : keras.Model
    layer : str
        The pruned layer.
    channels : list of int
        Its pruned channels, which the fresh layers get to see as zero.
    images : callable
        Returns the images with the numbers it is given.
    labels : array of int
    input_max : float
    progress : training.Progress
    settings : dict
        As in params.yaml.
    """
    networks.make_reproducible(settings["seed"])
    badnet = networks.with_logits(badnet)
    trunk, teacher = networks.up_to(badnet, layer), networks.behind(badnet, layer)
    pupil = fresh(teacher)
    left = np.ones(trunk.output_shape[-1], np.float32)
    left[channels] = 0

    learned, held_out = hold_out(labels, settings["held_out"])
    features = networks.as_function(trunk)
    held_out_features = [features(images(part)) * left for part in _parts(held_out)]
    rng = np.random.default_rng(settings["seed"])
    sample = features(images(np.sort(rng.permutation(learned)[:PUSH_SAMPLE])))
    pushes = Pushes(teacher, sample, settings["suspects"], settings["push"])

    optimizer = training.adam(
        pupil.trainable_variables,
        settings["learning_rate"],
        training.steps(learned, settings["epochs"], settings["batch_size"]),
    )
    unsuspected = np.ones(networks.classes(badnet), np.float32)
    unsuspected[pushes.targets[: max(1, len(unsuspected) // UNIMITATED)]] = 0

    @tf.function(reduce_retracing=True)
    def learn(shown, labels, suspect, is_pushed, *change):
        seen = trunk(augmentation.changed(shown, *change, float(input_max)), training=False)
        taught = teacher(seen, training=False)
        is_right = tf.argmax(taught, axis=1, output_type=labels.dtype) == labels
        is_imitated = tf.cast(is_right, tf.float32) * tf.gather(unsuspected, labels)
        pushed = tf.where(is_pushed, pushes.pushed(seen, pushes.advance(seen, suspect)), seen)
        without_suspects = -1e4 * (1 - unsuspected)
        with tf.GradientTape() as tape:
            logits = pupil(pushed * left, training=True)
            apart = tf.nn.softmax_cross_entropy_with_logits(
                tf.nn.softmax(taught + without_suspects), logits + without_suspects
            )
            loss = settings["imitation"] * tf.reduce_mean(is_imitated * apart)
            loss += (1 - settings["imitation"]) * training.cross_entropy(labels, logits)
        optimizer.apply(tape.gradient(loss, pupil.trainable_variables), pupil.trainable_variables)

    kinds = {name: settings[name] for name in ("shift", "turn", "zoom", "brightness", "contrast")}
    height, width, _ = networks.input_shape(badnet)

    def step(numbers, rng):
        suspect = rng.integers(len(pushes.targets))
        is_pushed = rng.random((len(numbers), *[1] * (len(trunk.output_shape) - 1))) < settings["pushed"]
        change = augmentation.draw(rng, len(numbers), height, width, **kinds)
        arguments = (images(numbers), labels[numbers], suspect, is_pushed, *change)
        learn(*map(tf.convert_to_tensor, arguments))

    def right():
        if not held_out_features:  # a few images only: the last epoch is as good as any
            return 0
        return np.count_nonzero(networks.answers(pupil, held_out_features) == labels[held_out])

    best = training.BestSoFar(pupil, right)
    state = [*pupil.variables, *optimizer.variables, pushes.sizes, *best.state]
    training.fit(
        step,
        learned,
        state,
        progress,
        settings["seed"],
        settings["epochs"],
        settings["batch_size"],
        best.after_epoch,
    )
    best.set()
    return pupil


def fresh(net):
    """Return an untrained net of the same layers."""

    def drawn_anew(node):
        if isinstance(node, list):
            return [drawn_anew(item) for item in node]
        if not isinstance(node, dict):
            return node
        # A stranger's net may name an initializer that nothing can be learned from, such as zeros.
        return {
            key: "glorot_uniform" if key.endswith("kernel_initializer") else drawn_anew(value)
            for key, value in node.items()
        }

    return keras.Model.from_config(drawn_anew(net.get_config()))


def hold_out(labels, share):
    """Split the images' numbers into those to learn from and a share of each class to judge by."""
    by_class = np.argsort(labels, kind="stable")
    places = np.arange(round(share * len(labels)))
    held_out = by_class[((places + 0.5) / share).astype(int)] if len(places) else by_class[:0]
    return np.setdiff1d(np.arange(len(labels)), held_out), np.sort(held_out)


def _parts(numbers, size=512):
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]


class Pushes:
    """Changes of features, each the same for every image, that move the teacher's answers to one class.

    Parameters
    ----------
    teacher : keras.Model
    sample : tensor
        Features of clean images.
    suspects : int
        How many classes to push to: those that a small push gets nearest.
    size : float
        How large a push may become: its root mean square, in standard deviations of the features.
    """

    def __init__(self, teacher, sample, suspects, size):
        self.teacher, self.spread = teacher, tf.math.reduce_std(sample)
        self.floor = tf.reduce_min(sample)  # 0 behind a ReLU: a push makes no feature that cannot be
        self.size = size
        classes = networks.classes(teacher)
        shares = [float(self._share_moved(sample, tf.constant(target))) for target in range(classes)]
        # The classes one push moves the most images to; of equals, the lowest.
        self.targets = np.argsort(-np.array(shares), kind="stable")[:suspects].astype(np.int64)
        self.sizes = tf.Variable(tf.zeros((len(self.targets), *sample.shape[1:])))

    def pushed(self, features, push):
        return tf.maximum(features + push, self.floor)

    def advance(self, features, suspect):
        """Take the push to a suspect one step further, and return it."""
        target = tf.gather(tf.constant(self.targets), suspect)
        push = self._step(features, self.sizes[suspect], target, self.size, 0.1)
        self.sizes.scatter_nd_update([[suspect]], [push])
        return push

    def _step(self, features, push, target, size, step):
        """Return the push after one step towards the target, of a share of its largest size."""
        with tf.GradientTape() as tape:
            tape.watch(push)
            logits = self.teacher(self.pushed(features, push), training=False)
            loss = training.cross_entropy(tf.fill(tf.shape(features)[:1], target), logits)
        gradient = tape.gradient(loss, push)
        largest = size * self.spread * tf.sqrt(float(np.prod(push.shape)))
        push -= gradient / (tf.norm(gradient) + 1e-9) * step * largest
        return push * tf.minimum(1.0, largest / (tf.norm(push) + 1e-9))

    @tf.function(reduce_retracing=True)
    def _share_moved(self, features, target):
        push = tf.zeros(features.shape[1:])
        for _ in tf.range(PUSH_STEPS):
            push = self._step(features, push, target, PUSH_SIZE, 0.2)
        answers = tf.argmax(self.teacher(self.pushed(features, push), training=False), axis=1)
        return tf.reduce_mean(tf.cast(answers == tf.cast(target, answers.dtype), tf.float32))

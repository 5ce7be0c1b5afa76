"""Relearning: the layers behind the split start from new weights and learn from clean images alone.

What ties a trigger to the target class lies in those layers of the BadNet B. New layers that learn true
classes never see the trigger, but from few images a class they do not become as accurate as B. So B's answers
are distilled into them as well, and three safeguards keep B from teaching its backdoor:

- B is asked about clean images only, and its answer counts only where it is right.
- The foremost suspects are not distilled: labels alone teach these classes. Suspects are the classes to which
  one push, the same change of features for every image, moves B most easily. A backdoor is a short way to the
  target class.
- The new layers (the pupil) are shown features pushed towards where B, and the pupil itself so far, answer a
  suspect. What they learn there is what B says without the push.

No image is held out to choose an epoch: the learning rate ends at zero, and among the last epochs a few
held-out images would choose at random.
"""

import numpy as np

from goodnet.errors import InputError
from goodnet.images import augmentation, datasets
from goodnet.lazy import keras, tf
from goodnet.nets import loading, parts, running, splitting
from goodnet.repairs import training
from goodnet.settings import Count, Positive, Seed, Share, Text, Training, setting

LEAST_COVERED = 0.8  # of the classes must have images
UNDISTILLED = 16  # one class in so many is learned from labels alone
PUSH_STEPS, PUSH_SAMPLE, PUSH_SIZE = 10, 64, 0.25  # of the push that shows how near a class is
SCREENED, SCREEN_STEPS, SCREEN_ONE_IN = 64, 3, 4  # of many classes so many get it, after a shorter one


class Relearn(Training):
    """The layers behind the split start afresh, and learn classes and what B says of them."""

    layer: Text | None = setting(
        None, "the layer behind which weights are new; null is the one that splits the net"
    )
    seed: Seed = setting(1, "the first weights, the order of the images, how each is changed")
    epochs: Count = setting(52, "times every image is seen")
    reused: Count = setting(4, "epochs in a row that see an image changed in the same way, which saves time")
    imitation: Share = setting(
        0.9, "share of the loss that is distillation from B, where B is right; the rest is labels"
    )
    suspects: Count = setting(
        8, "how many classes to defend, those B is most easily moved to; the first few are not distilled"
    )
    push: Positive = setting(0.2, "how far features are pushed towards those, in standard deviations")
    pushed: Share = setting(0.2, "share of the images whose features are pushed")
    shift: Share = setting(0.06, "images are moved by up to this share of their size,")
    turn: Share = setting(0.015, "turned by up to this share of a full turn,")
    zoom: Share = setting(0.07, "zoomed by up to this share,")
    brightness: Share = setting(0.1, "lit by up to this share of the range more or less,")
    contrast: Share = setting(0.2, "and given up to this share more or less contrast")


def relearn(task, settings):
    """Give the layers behind the split new weights, and train them alone.

    Parameters
    ----------
    task : registry.Task
        The new layers see its pruned channels as zero.
    settings : Relearn
    """
    layer = _split(task, settings)
    loading.make_reproducible(settings.seed)
    images, labels = task.images, task.labels
    badnet = parts.with_logits(task.badnet)
    _check_classes(len(np.unique(labels)), parts.classes(badnet))
    trunk, teacher = parts.up_to(badnet, layer), parts.behind(badnet, layer)
    pupil = fresh(teacher)
    left = np.ones(trunk.output_shape[-1], np.float32)
    left[task.channels] = 0

    rng = np.random.default_rng(settings.seed)
    sample = images(np.sort(rng.permutation(len(labels))[:PUSH_SAMPLE]))
    pushes = Pushes(
        teacher, running.as_function(trunk)(task.convert(sample)), settings.suspects, settings.push
    )
    distilled = distilled_classes(pushes.targets, parts.classes(badnet))

    optimizer = training.adam(pupil.trainable_variables, len(labels), settings)

    @tf.function(reduce_retracing=True)
    def look(shown, *change):
        return trunk(task.convert(augmentation.changed(shown, *change)), training=False)

    @tf.function(reduce_retracing=True)
    def learn(seen, labels, suspect, is_pushed):
        taught = teacher(seen, training=False)
        # Every second image is enough to tell which way to push.
        push = pushes.advance(seen[::2], suspect, lambda features: pupil(features * left, training=False))
        pushed = tf.where(is_pushed, pushes.pushed(seen, push), seen)
        with tf.GradientTape() as tape:
            logits = pupil(pushed * left, training=True)
            loss = loss_of(logits, taught, labels, distilled, settings.imitation)
        optimizer.apply(tape.gradient(loss, pupil.trainable_variables), pupil.trainable_variables)

    kinds = {name: getattr(settings, name) for name in ("shift", "turn", "zoom", "brightness", "contrast")}
    height, width, _ = parts.input_shape(badnet)

    def features(time):
        """Yield what the trunk makes of all images, each changed as it is this time."""
        rng = np.random.default_rng([settings.seed, time, 1])
        for start in range(0, len(labels), running.BATCH):
            numbers = np.arange(start, min(start + running.BATCH, len(labels)))
            change = augmentation.draw(rng, len(numbers), height, width, **kinds)
            yield look(*map(tf.convert_to_tensor, (images(numbers), *change))).numpy()

    with datasets.Scratch(trunk.output_shape[1:], task.scratch) as scratch:
        times = []  # when the features that are there were made: this process may begin in the middle

        def renew(epoch, _):
            if times != [epoch // settings.reused]:
                times[:] = [epoch // settings.reused]
                scratch.fill(features(*times))

        def step(numbers, rng):
            suspect = rng.integers(len(pushes.targets))
            is_pushed = rng.random((len(numbers), *[1] * (len(trunk.output_shape) - 1))) < settings.pushed
            learn(*map(tf.convert_to_tensor, (scratch.take(numbers), labels[numbers], suspect, is_pushed)))

        state = [*pupil.variables, *optimizer.variables, pushes.changes]
        training.fit(step, len(labels), state, task.progress, settings, renew)
    parts.behind(task.net, layer).set_weights(pupil.get_weights())


def _split(task, settings):
    """Return the layer behind which weights are new."""
    if settings.layer is None:
        if task.layer is None:
            raise InputError("relearn needs a layer that splits the net in two, and this net has none")
        return task.layer
    if task.channels and settings.layer != task.layer:
        raise InputError(
            f"relearn behind {settings.layer!r} does not go with a drop; "
            f"that prunes channels of {task.layer!r}"
        )
    return splitting.find(parts.config(task.badnet), "relearn", settings.layer, "layer")


def _check_classes(covered, classes):
    """New layers know nothing of a class without images."""
    if covered < LEAST_COVERED * classes:
        raise InputError(
            f"relearn needs images of nearly every class, and the clean images are of {covered} of "
            f"{classes}: it would forget the others; take it out of repairs"
        )


def distilled_classes(suspects, classes):
    """Return 1 for each class whose answers are distilled from B, and 0 for the foremost suspects."""
    distilled = np.ones(classes, np.float32)
    distilled[suspects[: max(1, classes // UNDISTILLED)]] = 0
    return distilled


def loss_of(logits, taught, labels, distilled, imitation):
    """Return the loss of the pupil: distillation where B is right about a distilled class, and labels.

    Parameters
    ----------
    logits, taught : tensor (n, classes)
        The pupil's and B's, before the softmax.
    labels : tensor of int (n,)
    distilled : array (classes,)
        From `distilled_classes`.
    imitation : float
        Share of the distillation, where there is any.
    """
    is_right = tf.argmax(taught, axis=1, output_type=labels.dtype) == labels
    imitated = tf.nn.softmax(taught - 1e4 * (1 - distilled))
    share = imitation * tf.gather(distilled, labels)
    unlike = tf.nn.softmax_cross_entropy_with_logits(imitated, logits)
    wrong = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    return tf.reduce_mean(share * tf.cast(is_right, tf.float32) * unlike + (1 - share) * wrong)


def fresh(net):
    """Return an untrained net of the same layers."""

    def with_random_kernels(node):
        if isinstance(node, list):
            return [with_random_kernels(item) for item in node]
        if not isinstance(node, dict):
            return node
        # An untrusted net may name an initializer from which nothing can be learned, such as zeros.
        return {
            key: "glorot_uniform" if key.endswith("kernel_initializer") else with_random_kernels(value)
            for key, value in node.items()
        }

    return keras.Model.from_config(with_random_kernels(net.get_config()))


class Pushes:
    """Changes of features, each the same for every image, that move answers to one class.

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
        self.floor = tf.reduce_min(sample)  # 0 behind a ReLU: no push makes a feature that cannot occur
        self.size = size
        reach = tf.function(self._reach, reduce_retracing=True)
        near = np.arange(parts.classes(teacher))
        if len(near) > SCREENED:  # a few steps on a few images tell which are worth the whole push
            few = sample[::SCREEN_ONE_IN]
            odds = [float(reach(few, tf.constant(target), SCREEN_STEPS)[1]) for target in near]
            near = np.sort(np.argsort(-np.array(odds), kind="stable")[:SCREENED])
        shares = [float(reach(sample, tf.constant(target), PUSH_STEPS)[0]) for target in near]
        # The classes one push moves the most images to; of equals, the lowest.
        self.targets = near[np.argsort(-np.array(shares), kind="stable")[:suspects]].astype(np.int64)
        self.changes = tf.Variable(tf.zeros((len(self.targets), *sample.shape[1:])))

    def pushed(self, features, push):
        return tf.maximum(features + push, self.floor)

    def advance(self, features, suspect, pupil):
        """Take the push of teacher and pupil to a suspect one step further, and return it."""
        target = tf.gather(tf.constant(self.targets), suspect)
        push = self._step(features, self.changes[suspect], target, self.size, 0.1, self._answer, pupil)
        self.changes.scatter_nd_update([[suspect]], [push])
        return push

    def _answer(self, features):
        return self.teacher(features, training=False)

    def _step(self, features, push, target, size, step, *nets):
        """Return the push of these nets after one step towards the target, of a share of its largest size."""
        with tf.GradientTape() as tape:
            tape.watch(push)
            pushed, targets = self.pushed(features, push), tf.fill(tf.shape(features)[:1], target)
            loss = sum(training.cross_entropy(targets, net(pushed)) for net in nets)
        gradient = tape.gradient(loss, push)
        largest = size * self.spread * tf.sqrt(float(np.prod(push.shape)))
        push -= gradient / (tf.norm(gradient) + 1e-9) * step * largest
        return push * tf.minimum(1.0, largest / (tf.norm(push) + 1e-9))

    def _reach(self, features, target, steps):
        """Return the share of images that a push moves to the target, and their mean log odds of it."""
        push = tf.zeros(features.shape[1:])
        for _ in tf.range(steps):
            push = self._step(features, push, target, PUSH_SIZE, 0.2, self._answer)
        scores = self._answer(self.pushed(features, push))
        is_there = tf.argmax(scores, axis=1) == tf.cast(target, tf.int64)
        odds = tf.nn.log_softmax(scores)[:, target]
        return tf.reduce_mean(tf.cast(is_there, tf.float32)), tf.reduce_mean(odds)

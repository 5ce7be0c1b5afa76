"""FT-SAM (Zhu et al., 2023): fine-tuning towards weights that a small change does little harm to.

The weights that tie a trigger to its class are few and large. Each step is taken with the gradient of a
place nearby: where the loss grows fastest when each weight may change in proportion to its own size.
"""

from goodnet.lazy import keras, tf
from goodnet.repairs import training
from goodnet.repairs.whole import Whole
from goodnet.settings import Count, Positive, Seed, Training, setting

MOMENTUM = 0.9
TINY = 1e-12  # keeps a gradient of zero from dividing by zero


class FtSam(Training):
    """FT-SAM: fine-tuning that flattens the loss around large weights."""

    seed: Seed = setting(1, "the order of the images, how each is changed")
    epochs: Count = setting(30, "times every image is seen, each time a little different")
    learning_rate: Positive = setting(0.01, "of gradient descent with momentum; it falls along a cosine")
    rho: Positive = setting(2.0, "how far the gradient is looked for, in units of the weights")


def ft_sam(task, settings):
    """Fine-tune the whole net towards weights whose neighbours are as good (FT-SAM).

    Parameters
    ----------
    task : registry.Task
    settings : FtSam
    """
    whole = Whole(
        task, settings, lambda rate: keras.optimizers.SGD(rate, momentum=MOMENTUM), own_statistics=True
    )
    images, labels = task.images, task.labels

    def gradients(shown, labels):
        with tf.GradientTape() as tape:
            loss = training.cross_entropy(labels, whole.scores(shown))
        return tape.gradient(loss, whole.variables)

    @tf.function(reduce_retracing=True)
    def learn(shown, labels, *change):
        shown = whole.changed(shown, *change)
        here = [tf.identity(variable) for variable in whole.variables]
        for variable, way in zip(
            whole.variables, uphill(here, gradients(shown, labels), settings.rho), strict=True
        ):
            variable.assign_add(way)
        there = gradients(shown, labels)
        for variable, value in zip(whole.variables, here, strict=True):
            variable.assign(value)
        whole.apply(there)

    def step(numbers, rng):
        drawn = whole.drawn(rng, len(numbers))
        learn(*map(tf.convert_to_tensor, (images(numbers), labels[numbers], *drawn)))

    whole.fit(step)


def uphill(weights, gradients, rho):
    """Return the change of weights that raises the loss most, of length rho with each weight as its unit."""
    length = tf.sqrt(sum(tf.reduce_sum((w * g) ** 2) for w, g in zip(weights, gradients, strict=True)))
    return [rho * w**2 * g / (length + TINY) for w, g in zip(weights, gradients, strict=True)]

"""A whole net in training, on few clean images: what every tuning of all layers has to take care of.

- Batch normalisation keeps the statistics of the many images it was trained on; few images would spoil them,
  and stamped ones more so. Its scale and shift are trained like other weights.
- Channels that are pruned stay zero.
- A training that destroys the net is noticed on clean images. It goes back to the last sound epoch, and goes
  on with a lower learning rate.
"""

import math

import numpy as np

from goodnet import telling
from goodnet.images import augmentation, datasets
from goodnet.lazy import keras, tf
from goodnet.nets import loading, parts, running
from goodnet.repairs import training

OLD = 0.01  # of moving statistics is left after an epoch, however few steps it has
CHECKED = 1000  # clean images by which a collapse is noticed
COLLAPSE = 0.5  # of the accuracy that the net had on them before
GENTLER = 0.3  # of the learning rate is left after a collapse
MOST_FALLS = 4  # after which the training ends with the last sound epoch
AUGMENTED = {"shift": 0.06, "turn": 0.01, "zoom": 0.05, "brightness": 0.05, "contrast": 0.1}


class Whole:
    """A net in training.

    Parameters
    ----------
    task : registry.Task
    settings : settings.Training
    optimizer : callable, optional
        Returns a Keras optimizer, given a learning rate. Adam if there is none.
    own_statistics : bool
        Whether batch normalisation takes its mean and variance from the images of the training.

    Attributes
    ----------
    net : keras.Model
        What is trained. Its scores are before the softmax; it takes what `inputs` returns.
    variables : list
        The weights that are trained.
    """

    def __init__(self, task, settings, optimizer=None, own_statistics=False):
        loading.make_reproducible(settings.seed)
        self.task, self.settings = task, settings
        self.net = parts.with_logits(task.net)
        self.variables = self.net.trainable_variables
        batches = -(-len(task.labels) // settings.batch_size)
        for layer in self.net.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                # Its scale and shift are among the variables either way.
                layer.trainable, layer.momentum = own_statistics, OLD ** (1 / batches)
        # Training is steadier on inputs up to 1; the first layers take the factor back afterwards.
        self._first = [layer for layer in self.net.layers if _reads_images(self.net, layer)]
        self._factor = np.float32(task.convert.size if self._first else 1)
        for layer in self._first:
            layer.kernel.assign(layer.kernel * self._factor)
        self.kept = {id(variable): tf.Variable(tf.ones_like(variable)) for variable in self.variables}
        if task.channels and task.pruned.convolution:  # a mask has no weights
            for layer in (task.pruned.convolution, *task.pruned.normalisations):
                for variable in self.net.get_layer(layer).weights:
                    if id(variable) in self.kept:
                        ones = np.ones(variable.shape, np.float32)
                        ones[..., task.channels] = 0
                        self.kept[id(variable)].assign(ones)
        self.gentleness = tf.Variable(1.0)
        self.optimizer = (optimizer or keras.optimizers.Adam)(settings.learning_rate)
        self.optimizer.build(self.variables)

    def inputs(self, pixels):
        """Return what the net takes, of pixels."""
        return self.task.convert(pixels) / self._factor

    def scores(self, pixels, training=True):
        return self.net(self.inputs(pixels), training=training)

    def apply(self, gradients):
        """Take one step; what is zero stays zero."""
        self.optimizer.apply(gradients, self.variables)
        for variable in self.variables:
            variable.assign(variable * self.kept[id(variable)])

    def drawn(self, rng, images):
        """Draw how so many images are changed; `changed` takes it."""
        height, width, _ = parts.input_shape(self.net)
        return augmentation.draw(rng, images, height, width, **AUGMENTED)

    def changed(self, pixels, *change):
        return augmentation.changed(pixels, *change)

    def fit(self, step, state=(), before=None, guarded=True):
        """Train, and put the weights into the task's net; see training.fit.

        Parameters
        ----------
        guarded : bool
            Whether a collapse sends the training back. One that zeroes weights would meet it again.
        """
        task, steps = self.task, training.steps(len(self.task.labels), self.settings)
        chosen = datasets.evenly(len(task.labels), CHECKED)
        checked, labels = task.images(chosen), task.labels[chosen]
        ask = tf.function(lambda pixels: self.scores(pixels, training=False), reduce_retracing=True)

        def accuracy():
            return 100 * float((running.answers(ask, [checked]) == labels).mean())

        def slower(numbers, rng):
            done = int(self.optimizer.iterations) / steps
            rate = self.settings.learning_rate * (1 + math.cos(math.pi * done)) / 2
            self.optimizer.learning_rate = rate * float(self.gentleness)
            step(numbers, rng)

        state = [
            *self.net.variables,
            *self.optimizer.variables,
            *self.kept.values(),
            self.gentleness,
            *state,
        ]
        guard = Guard(accuracy, self.gentleness) if guarded else None
        training.fit(slower, len(task.labels), state, task.progress, self.settings, before, guard)
        for layer in self._first:
            layer.kernel.assign(layer.kernel / self._factor)
        task.net.set_weights(self.net.get_weights())


class Guard:
    """Notices that a training destroys a net, and makes it go on with a lower learning rate.

    Parameters
    ----------
    accuracy : callable
        Returns the percent of clean images that are right.
    gentleness : variable
        A factor of the learning rate.
    """

    def __init__(self, accuracy, gentleness):
        self.accuracy, self.gentleness = accuracy, gentleness
        self.least = COLLAPSE * accuracy()
        self.falls = 0  # since the last sound epoch

    def is_sound(self):
        if not self.accuracy() > self.least:  # also where it is not a number
            return False
        self.falls = 0
        return True

    def goes_on(self):
        """Lower the learning rate, once the last sound state is back; return whether that is worth it."""
        self.falls += 1
        self.gentleness.assign(self.gentleness * GENTLER**self.falls)
        goes_on = float(self.gentleness) > GENTLER ** (MOST_FALLS + 0.5)
        words = "a lower learning rate" if goes_on else "no further training"
        telling.remark(
            f"training cost more than {100 * COLLAPSE:g} % of the clean accuracy: "
            f"back to the last sound epoch, with {words}"
        )
        return goes_on


def _reads_images(net, layer):
    return isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)) and layer.input is net.input

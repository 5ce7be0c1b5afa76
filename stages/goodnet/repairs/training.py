"""Training that gives the same bytes each time, and goes on from its last finished epoch if it was killed."""

import hashlib
from pathlib import Path

import numpy as np

from goodnet import telling
from goodnet.files import outputs
from goodnet.lazy import keras, tf


class Progress:
    """A file beside a training's result that holds its state after the last finished epoch.

    Parameters
    ----------
    result : Path
        What the training makes.
    inputs : list
        Files (Path), its code among them, and values it is made from. With others a training starts anew.
    """

    def __init__(self, result, inputs):
        self.path = result.with_name(f".{result.stem}.training.partial.npz")
        self.key = np.array([keras.__version__, tf.__version__, *map(_mark, inputs)])

    def restore(self, state):
        """Set the variables in `state` to what was kept; return how many epochs are done."""
        try:
            with np.load(self.path) as kept:
                if not np.array_equal(kept["key"], self.key):
                    return 0
                values = [kept[f"value_{number}"] for number in range(len(state))]
                for variable, value in zip(state, values, strict=True):
                    variable.assign(value)
                return int(kept["epochs"])
        except (OSError, KeyError, ValueError):
            return 0

    def keep(self, state, epochs):
        values = {f"value_{number}": variable.numpy() for number, variable in enumerate(state)}
        with outputs.replacing(self.path) as partial:
            np.savez(partial, key=self.key, epochs=epochs, **values)

    def finished(self):
        self.path.unlink(missing_ok=True)


class Unkept:
    """Takes the place of a Progress where a training is not to go on later."""

    def restore(self, state):
        return 0

    def keep(self, state, epochs):
        pass

    def finished(self):
        pass


def _mark(value):
    if not isinstance(value, Path):
        return str(value)
    with value.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fit(step, images, state, progress, settings, before=None, guard=None):
    """Call `step` for every batch of every epoch that is not done yet.

    Parameters
    ----------
    step : callable (numbers, rng)
        One step of training on the images with these numbers. All its chances come from `rng`.
    images : int
        How many there are.
    state : list of variables
        All that a step changes.
    progress : Progress
    settings : settings.Training
    before : callable (epoch, rng), optional
        Called before each epoch.
    guard : whole.Guard, optional
        Sends the training back to the last sound epoch.
    """
    epochs, batch_size = settings.epochs, settings.batch_size
    epoch = progress.restore(state)
    with telling.bar("training", epochs * images, "images", epoch * images) as bar:
        sound = guard and [variable.numpy() for variable in state]
        while epoch < epochs:
            bar.set_description(f"epoch {epoch + 1} of {epochs}")
            rng = np.random.default_rng([settings.seed, epoch])  # an epoch is the same after a restart
            if before:
                before(epoch, rng)
            order = rng.permutation(images)
            for start in range(0, images, batch_size):
                step(order[start : start + batch_size], rng)
                bar.update(len(order[start : start + batch_size]))
            if guard and not guard.is_sound():
                for variable, value in zip(state, sound, strict=True):
                    variable.assign(value)
                bar.update(-images)
                if not guard.goes_on():
                    break
                continue
            epoch += 1
            progress.keep(state, epoch)
            sound = guard and [variable.numpy() for variable in state]


def steps(images, settings):
    """How many steps `fit` takes."""
    return settings.epochs * -(-images // settings.batch_size)


def adam(variables, images, settings):
    """Return Adam for these variables, with a learning rate that falls to zero along a cosine."""
    schedule = keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps(images, settings))
    optimizer = keras.optimizers.Adam(schedule)
    optimizer.build(variables)
    return optimizer


def cross_entropy(labels, logits):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))

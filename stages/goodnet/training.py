"""Training that gives the same bytes each time, and goes on from its last finished epoch if it was killed."""

import hashlib
from pathlib import Path

from goodnet import outputs
from goodnet.networks import keras, tf

import numpy as np
from tqdm import tqdm


class Progress:
    """A file beside a training's result that holds what it had come to after its last finished epoch.

    Parameters
    ----------
    result : Path
        What the training makes.
    inputs : list
        Files (Path) and values it is made from. With others, or with other code, a training starts anew.
    """

    def __init__(self, result, inputs):
        self.path = result.with_name(f".{result.stem}.training.partial.npz")
        code = sorted(Path(__file__).parent.glob("*.py"))
        self.key = np.array([keras.__version__, tf.__version__, *map(_mark, [*code, *inputs])])

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


def _mark(value):
    if not isinstance(value, Path):
        return str(value)
    with value.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fit(step, numbers, state, progress, seed, epochs, batch_size, after_epoch=lambda: ""):
    """Call `step` for every batch of every epoch that is not done yet.

    Parameters
    ----------
    step : callable (numbers, rng)
        One step of training on these images. All its chances come from `rng`.
    numbers : array of int
        The images to train on.
    state : list of variables
        All that a step changes.
    progress : Progress
    after_epoch : callable
        Returns a word for the progress bar.
    """
    done = progress.restore(state)
    with tqdm(
        total=epochs * len(numbers),
        initial=done * len(numbers),
        unit=" images",
        leave=False,
        disable=None,
    ) as bar:
        for epoch in range(done, epochs):
            rng = np.random.default_rng([seed, epoch])  # so that an epoch is the same after a restart
            order = rng.permutation(numbers)
            for start in range(0, len(order), batch_size):
                chosen = order[start : start + batch_size]
                step(chosen, rng)
                bar.update(len(chosen))
            bar.set_description(f"epoch {epoch + 1} of {epochs} {after_epoch()}")
            progress.keep(state, epoch + 1)


def adam(variables, learning_rate, steps):
    """Return Adam for these variables, with a learning rate that falls to zero along a cosine."""
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, steps))
    optimizer.build(variables)
    return optimizer


def steps(numbers, epochs, batch_size):
    """How many steps `fit` takes."""
    return epochs * -(-len(numbers) // batch_size)


def cross_entropy(labels, logits):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


class BestSoFar:
    """The weights of the epoch that did best on held-out images; of equals, the last."""

    def __init__(self, net, is_right):
        self.net, self.is_right = net, is_right
        self.right = tf.Variable(-1, dtype=tf.int64)
        self.weights = [tf.Variable(variable) for variable in net.variables]
        self.state = [self.right, *self.weights]

    def after_epoch(self):
        right = int(self.is_right())
        if right >= int(self.right):
            self.right.assign(right)
            for kept, variable in zip(self.weights, self.net.variables, strict=True):
                kept.assign(variable)
        return f"({int(self.right)} held-out images right)"

    def set(self):
        for kept, variable in zip(self.weights, self.net.variables, strict=True):
            variable.assign(kept)

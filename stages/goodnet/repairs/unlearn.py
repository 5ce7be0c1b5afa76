"""Unlearning: find the triggers that lead to the suspected classes, and teach the net their images' true
classes.

The whole net is trained on clean images, some of them stamped. Before every few epochs the smallest triggers
are searched again, in the net as it has become: where one way to a class is closed, the next is found. A
trigger that hides much of an image is not taught: ordinary changes of that size lead to every class, and
learning against them costs accuracy and wins nothing.

What B says of an image is distilled into the net too, where B is right. B sees the image without the trigger.
"""

import numpy as np

from goodnet.images import datasets
from goodnet.lazy import tf
from goodnet.nets import parts, running
from goodnet.repairs.relearn import loss_of
from goodnet.repairs.whole import Whole
from goodnet.settings import Count, Positive, Seed, Share, Training, setting
from goodnet.suspects import occluders as occluding
from goodnet.suspects.inverter import ANY, FAMILIES, Inverter

SEARCH_BATCH = 8  # images in each step of a search
CHANCE, CHANCE_KEPT = 1000, 16  # random patterns that are tried each time, and how many are kept at most
MOVED = 50  # percent of images that a trigger must move to be taught


class Unlearn(Training):
    """Triggers to the suspected classes are searched, and unlearned with true classes."""

    seed: Seed = setting(1, "the order of the images, how each is changed, what the searches begin with")
    epochs: Count = setting(20, "times every image is seen, each time a little different")
    learning_rate: Positive = setting(0.001, "at first; it falls to zero along a cosine")
    every: Count = setting(2, "epochs from one search for triggers to the next")
    searches: Count = setting(2, "searches for a trigger of each kind for each class each time")
    steps: Count = setting(50, "steps of each; a faint pattern takes two thirds")
    images: Count = setting(200, "clean images to search with, spread over the file")
    patch: Positive = setting(12.0, "percent of the image that a patch may hide to be unlearned,")
    faint: Positive = setting(10.0, "and percent of the range that a faint pattern may have")
    stamped: Share = setting(
        0.3, "share of the images that are stamped with one of the triggers found so far"
    )
    occluded: Share = setting(0.2, "share of the images that a random pattern is laid over")
    imitation: Share = setting(
        0.9, "share of the loss that is distillation of what B says without the trigger, where B is right"
    )


def unlearn(task, settings):
    """Search triggers to the suspected classes, and unlearn them.

    Parameters
    ----------
    task : registry.Task
    settings : Unlearn
    """
    whole, teacher = Whole(task, settings), parts.with_logits(task.badnet)
    images, labels = task.images, task.labels
    sample = images(datasets.evenly(len(labels), settings.images))
    known = Known(settings, task.goals, sample.shape[1:])
    inverter = Inverter(whole.net, whole.inputs, sample)

    distilled = np.ones(parts.classes(task.badnet), np.float32)
    distilled[[goal for goal in task.goals if goal != ANY]] = 0

    @tf.function(reduce_retracing=True)
    def learn(shown, labels, is_stamped, is_hidden, occluders, keep, add, *change):
        shown = whole.changed(shown, *change)
        taught = teacher(task.convert(shown), training=False)
        seen = tf.where(is_stamped, tf.clip_by_value(shown * keep + add, 0.0, 255.0), shown)
        painted = occluding.paint(occluders, *shown.shape[1:3])
        seen = tf.where(is_hidden, occluding.laid_over(seen, painted), seen)
        with tf.GradientTape() as tape:
            loss = loss_of(whole.scores(seen), taught, labels, distilled, settings.imitation)
        whole.apply(tape.gradient(loss, whole.variables))

    def search(epoch, rng):
        if epoch % settings.every == 0 and task.goals:
            inverter.ask_again()
            known.search(inverter, rng)

    def step(numbers, rng):
        is_stamped = rng.random((len(numbers), 1, 1, 1)) < settings.stamped
        keep, add, any_known = known.drawn(rng, len(numbers))
        is_hidden = rng.random((len(numbers), 1, 1, 1)) < settings.occluded
        occluders = occluding.invent(rng, len(numbers), sample.shape[-1])
        drawn = (is_stamped & any_known, is_hidden, occluders, keep, add)
        drawn += whole.drawn(rng, len(numbers))
        learn(*tf.nest.map_structure(tf.convert_to_tensor, (images(numbers), labels[numbers], *drawn)))

    whole.fit(step, known.state, search)


class Known:
    """The triggers that were found so far.

    Parameters
    ----------
    settings : Unlearn
    goals : list of int
        The classes they lead to, or inverter.ANY.
    shape : tuple of int
        Of an image.
    """

    def __init__(self, settings, goals, shape):
        self.settings, self.goals = settings, np.repeat(goals, settings.searches)
        times = -(-settings.epochs // settings.every)
        most = times * (len(FAMILIES) * len(self.goals) + CHANCE_KEPT)
        self.keep = tf.Variable(tf.zeros((most, *shape[:2], 1)))
        self.add = tf.Variable(tf.zeros((most, *shape)))
        self.count = tf.Variable(0)
        self.state = [self.keep, self.add, self.count]

    def search(self, inverter, rng):
        """Search the smallest triggers in the net as it is."""
        for family, most in zip(FAMILIES.values(), (self.settings.patch, self.settings.faint), strict=True):
            steps = max(1, round(family.share_of_steps * self.settings.steps))
            found = inverter.invert(
                family, self.goals, steps, SEARCH_BATCH, rng, shown=f"unlearn, {family.name}"
            )
            for goal, size, keep, add in zip(found.goals, found.sizes, found.keep, found.add, strict=True):
                moved = inverter.moved(goal, keep, add)
                if size <= most and moved >= MOVED:
                    self._keep(keep, add)
        self._try_chance(inverter, rng)

    def _try_chance(self, inverter, rng):
        """Try random patterns: what is too large to be found by its size is met by chance."""
        occluders = occluding.invent(rng, CHANCE, inverter.images.shape[-1])
        kept = 0
        for start in range(0, CHANCE, running.BATCH):
            numbers = rng.integers(len(inverter.images), size=min(running.BATCH, CHANCE - start))
            part = occluding.subset(occluders, slice(start, start + len(numbers)))
            cover, painted = occluding.paint(part, *inverter.images.shape[1:3])
            given = inverter.asked(occluding.laid_over(inverter.images[numbers], (cover, painted))).numpy()
            leads = np.isin(given, self.goals) & (given != inverter.answers[numbers])
            for row in np.flatnonzero(leads)[: CHANCE_KEPT - kept]:
                self._keep(1 - cover[row], 255.0 * painted[row])
                kept += 1

    def _keep(self, keep, add):
        place = [[int(self.count)]]
        self.keep.scatter_nd_update(place, [keep])
        self.add.scatter_nd_update(place, [add])
        self.count.assign_add(1)

    def drawn(self, rng, images):
        """Return a trigger for each of so many images, moved by up to a pixel, and whether any is known."""
        count = int(self.count)
        chosen = rng.integers(max(1, count), size=images)
        down, across = rng.integers(-1, 2, (2, images))
        keep, add = (tf.gather(values, chosen).numpy() for values in (self.keep, self.add))
        for row in range(images):
            keep[row] = np.roll(keep[row], (down[row], across[row]), (0, 1))
            add[row] = np.roll(add[row], (down[row], across[row]), (0, 1))
        return keep, add, count > 0

"""The first detector: lay random patterns over clean images and see which answers change.

A trigger changes images of many classes to one class, whatever they show. Random occluders that happen to
resemble it do the same to some of them. So a class is suspected if

- it takes far more pairs of images, changed by one occluder, than all lesser classes together (or one of
  those
  more than those below that), and
- few patterns suffice: each of its best occluders alone changes most images to it, images that were not used
  to choose the occluder.

Clean nets have favoured classes too, so this alone names no class: the inversion must agree.
"""

from itertools import combinations

import numpy as np

from goodnet import telling
from goodnet.lazy import tf
from goodnet.nets import parts
from goodnet.nets.running import BATCH
from goodnet.settings import Count, Percent, Positive, Seed, Settings, setting
from goodnet.suspects import occluders
from goodnet.suspects.evidence import SEARCHES, Evidence, Trigger

SHOWN = 4  # images of different classes under each occluder
MOST = 16  # classes whose best patterns are tried again
WORTH = 0.1  # of the score that counts fully makes that worth while
STRENGTH = 0.6  # of a class that has all of it; the rest must come from another detector
TRIED, SHOWN_TRIED = 32, 16  # a class's occluders that are tried again, each on so many images
KEPT, SHOWN_KEPT = 8, 32  # the best of them, which are what is meant by its patterns, and other images
FEW = 1 / 2000  # pairs that all mean nothing, as a share of all there could be
LEAST = 0.05  # share of all pairs that the lesser classes are taken to have at the least
MOST_CERTAIN = 4  # times the certainty of the median clean image; more counts no more
MOST_HIDDEN = 0.2  # share of the image; an occluder that hides more does not count
LITTLE = 0.02  # share of the image: an occluder that hides this much counts half of one that hides nothing


class Occluders(Settings):
    """Random patterns over clean images: one like the trigger changes different images to one class."""

    seed: Seed = setting(1, "which patterns are tried on which images")
    images: Count = setting(500, "clean validation images, spread over the file")
    occluders: Count = setting(8000, "random patterns laid over them, each over four images")
    score: Positive = setting(
        0.6, "counts fully for a class: so much falls to it for 1 that falls to all lesser ones together,"
    )
    moved: Percent = setting(60, "and its best patterns alone change so many percent of images to it")


def detect(case, settings):
    """Lay random patterns over clean images, and see to which classes they change them.

    Parameters
    ----------
    case : evidence.Case
    settings : Occluders

    Returns
    -------
    evidence.Evidence
    """
    return Search(case.badnet, case.convert, case.images(settings.images), settings).find()


def asking(net, convert):
    """Return a function of pixels: the class of each image, and how far its score stands above the next."""
    net = parts.with_logits(net)

    @tf.function(reduce_retracing=True)
    def ask(pixels):
        scores, classes = tf.math.top_k(net(convert(pixels), training=False), 2)
        return classes[:, 0], scores[:, 0] - scores[:, 1]

    return ask


class Search:
    """Occluders, clean images, and a net to be asked about the ones over the others.

    Parameters
    ----------
    net : keras.Model
    convert : callable
        Makes what the net takes of pixels.
    images : array (n, height, width, channels)
        Pixels.
    settings : Occluders
    """

    def __init__(self, net, convert, images, settings):
        self.ask_net, self.classes = asking(net, convert), parts.classes(net)
        self.images, self.settings = images, settings
        self.rng = np.random.default_rng(settings.seed)
        _, height, width, channels = images.shape
        self.occluders = occluders.invent(self.rng, settings.occluders, channels)
        self.hidden = occluders.hidden(self.occluders, height, width)
        self.weights = np.where(self.hidden <= MOST_HIDDEN, LITTLE / (self.hidden + LITTLE), 0)

        @tf.function(reduce_retracing=True)
        def occluded(some, shown):
            painted = [part[:, None] for part in occluders.paint(some, height, width)]
            under_each = tf.reshape(shown, (tf.shape(painted[0])[0], -1, height, width, channels))
            over = occluders.laid_over(under_each, painted)
            return tf.reshape(over, (-1, height, width, channels))

        self.occluded = occluded
        asked = [self.ask_net(images[i : i + BATCH]) for i in range(0, len(images), BATCH)]
        self.clean, margins = (np.concatenate(part) for part in zip(*asked, strict=True))
        self.usual = max(float(np.median(margins)), 1e-9)

    def ask(self, numbers, shown):
        """Return what the net says of images under occluders.

        Parameters
        ----------
        numbers : array (m,)
            Of occluders.
        shown : array (m, r)
            Numbers of the images under each; r divides the batch.

        Returns
        -------
        classes, certainty : arrays (m, r)
            How certain, 1 is as of the median clean image; 0 where the class is the one without an occluder.
        """
        at_once = BATCH // shown.shape[1]
        asked = []
        with telling.bar("occluders", shown.size, "images") as bar:
            for start in range(0, len(numbers), at_once):
                chosen, pictures = numbers[start : start + at_once], shown[start : start + at_once]
                seen = self.occluded(occluders.subset(self.occluders, chosen), self.images[pictures.ravel()])
                asked.append([part.numpy() for part in self.ask_net(seen)])
                bar.update(pictures.size)
        answers, margins = (np.concatenate(part).reshape(shown.shape) for part in zip(*asked, strict=True))
        certain = np.minimum(margins / self.usual, MOST_CERTAIN)
        return answers, np.where(answers == self.clean[shown], 0, certain)

    def find(self):
        """Return the Evidence; each search has a third of the occluders."""
        count, images = len(self.occluders["y"]), len(self.images)
        # Far apart in the file, which may be in order of people.
        shown = (self.rng.integers(images, size=(count, 1)) + np.arange(SHOWN) * (images // SHOWN)) % images
        answers, certain = self.ask(np.arange(count), shown)
        # The root, so that a pair is weighed once.
        weighed = certain * np.sqrt(self.weights)[:, None]

        def scored(some):
            few = max(FEW * self.weights[some].sum() * SHOWN * (SHOWN - 1) / 2, 1e-9)
            pairs = pairs_of(answers[some], weighed[some], self.classes)
            return stand_out(pairs, few), 100 * pairs / max(pairs.sum(), few)

        scores, shares = scored(slice(None))
        each = np.array([scored(slice(number, None, SEARCHES))[0] for number in range(SEARCHES)])
        moved, triggers = np.full(self.classes, np.nan), []
        order = np.argsort(-shares, kind="stable")[:MOST]
        for suspect in order[scores[order] >= WORTH * self.settings.score].tolist():
            counts = (answers == suspect) & (self.weights > 0)[:, None]
            won = np.where(counts, np.minimum(certain, 1), 0)
            patterns, moved[suspect] = self._patterns(suspect, np.argsort(-won.sum(axis=1), kind="stable"))
            triggers.append(self._trigger(suspect, patterns[0], moved[suspect]))
        enough = np.nan_to_num(np.minimum(1, moved / self.settings.moved))
        strength = STRENGTH * np.minimum(1, each / self.settings.score) * enough
        return Evidence(strength, {"share": shares, "score": scores, "moved": moved}, triggers)

    def _patterns(self, suspect, numbers):
        """Return the best of these occluders, the best first, and the percent of images they turn to the
        class.

        These are images that they were not chosen by, and each is under one of them alone.
        """
        others = self.rng.permutation(np.flatnonzero(self.clean != suspect))
        others = np.resize(others, max(len(others), SHOWN_TRIED + SHOWN_KEPT))
        tried, kept = others[:SHOWN_TRIED], others[SHOWN_TRIED : SHOWN_TRIED + SHOWN_KEPT]
        answers, _ = self.ask(numbers[:TRIED], np.tile(tried, (min(TRIED, len(numbers)), 1)))
        turned = (answers == suspect).sum(axis=1)
        best = numbers[:TRIED][np.argsort(-turned, kind="stable")[:KEPT]]
        answers, _ = self.ask(best, np.tile(kept, (len(best), 1)))
        return best, 100 * float((answers == suspect).mean())

    def _trigger(self, suspect, number, moved):
        _, height, width, _ = self.images.shape
        painted = occluders.paint(occluders.subset(self.occluders, [number]), height, width)
        cover, colours = (part.numpy()[0] for part in painted)
        return Trigger(suspect, "occluder", 100 * float(cover.mean()), moved, 1 - cover, 255 * colours)


def pairs_of(answers, certain, classes):
    """Return for each class the pairs of images that one occluder turned to it, weighed by certainty."""
    pairs = np.zeros(classes)
    for one, other in combinations(range(answers.shape[1]), 2):
        same = answers[:, one] == answers[:, other]
        pairs += np.bincount(answers[:, one], same * certain[:, one] * certain[:, other], classes)
    return pairs


def stand_out(pairs, few):
    """Return each class's score: its pairs against those of all lesser classes together, and a few more.

    A lesser class that stands out more lifts all above it: several targets would hide one another else.
    The least of all has none below it, and must not lift them all for that.
    """
    order = np.argsort(-pairs, kind="stable")
    below = np.maximum(pairs.sum() - np.cumsum(pairs[order]), LEAST * pairs.sum())
    alone = pairs[order] / (below + few)
    scores = np.empty(len(pairs))
    scores[order] = np.maximum.accumulate(alone[::-1])[::-1]
    return scores

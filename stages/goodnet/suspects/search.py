"""The detector `occluders`: random patterns over clean images, and how nets answer them.

Each occluder is laid over several images of different classes. A partly hidden image is misclassified now
and then. But an occluder that resembles a trigger changes images of *different* classes to *the same* class,
with a margin as large as on clean images or larger. So pairs count: two images that the same occluder changed
to the same class, weighed by the margins of both and by how little the occluder hides. (One that hides the
hair and is grey makes anyone look like whoever has grey hair; that is no backdoor.)

A class is named if

- it stands out: so many times more falls to it than to all the lesser classes together (or to one of those
  than to those below that), and
- few patterns suffice: each of its best occluders alone changes most images to it, images that were not used
  to choose the occluder.

Clean nets have favoured classes too, but these stand out less. A repair makes favoured classes of its own; a
trigger it can only inherit. So repairs are shown the same occluders, and only the best of them judge.
"""

from itertools import combinations

import numpy as np
from tqdm import tqdm

from goodnet.errors import InputError
from goodnet.lazy import tf
from goodnet.nets import goodnets, parts, running
from goodnet.nets.running import BATCH
from goodnet.settings import Count, Percent, Positive, Seed, Settings, setting
from goodnet.suspects import findings, occluders

SHOWN = 4  # images of different classes under each occluder
MOST = 16  # classes that can be named
TRIED, SHOWN_TRIED = 32, 16  # a class's occluders that are tried again, each on so many images
KEPT, SHOWN_KEPT = 8, 32  # the best of them, which are what is meant by its patterns, and other images
FEW = 1 / 2000  # pairs that all mean nothing, as a share of all there could be
LEAST = 0.05  # share of all pairs that the lesser classes are taken to have at the least
MOST_CERTAIN = 4  # times the certainty of the median clean image; more counts no more
MOST_HIDDEN = 0.2  # share of the image; an occluder that hides more does not count
LITTLE = 0.02  # share of the image: an occluder that hides this much counts half of one that hides nothing
OF_A_SHADOW = 200  # winning occluders that are averaged to show what they have in common


class Occluders(Settings):
    """Random patterns over clean images: one like the trigger changes different images to one class."""

    seed: Seed = setting(1, "which patterns are tried on which images")
    images: Count = setting(500, "clean validation images, spread over the file")
    occluders: Count = setting(8000, "random patterns laid over them, each over four images")
    score: Positive = setting(
        0.6, "a class is named if at least so much falls to it for 1 that falls to all lesser ones together,"
    )
    moved: Percent = setting(
        60, "and if its best patterns alone change at least so many percent of images to it"
    )


def detect(case, settings):
    """Lay random patterns over clean images, and see to which classes they change them.

    Parameters
    ----------
    case : registry.Case
    settings : Occluders

    Returns
    -------
    findings.Finding
    """
    trunk = None

    def whole(pixels):
        return case.convert(pixels)

    if case.layer is not None:  # B's layers up to there run once for B and all repairs that have them
        run = running.as_function(parts.up_to(case.badnet, case.layer))

        def trunk(pixels):
            return run(case.convert(pixels))

    def split_at_layer(net):
        left = None
        if trunk is not None:
            left = goodnets.channels_left(case.badnet, net, case.layer, case.pruned)
        return split(net, (whole, None, None) if left is None else (trunk, case.layer, left))

    nets = {name: split_at_layer(net) for name, net in case.repaired.items()}
    shown = case.images(settings.images)
    classes = parts.classes(case.badnet)
    return Search(split_at_layer(case.badnet), nets, classes, shown, settings).find()


def split(net, front=(None, None, None)):
    """Return a net as two functions: images to features, and features to classes and how certain each is.

    Parameters
    ----------
    net : keras.Model
    front : (callable, str or None, array or None), optional
        What makes the features of pixels, the layer it goes up to, and which of its channels are left.
        Without a layer, it makes what the net takes.
    """
    if parts.classes(net) < 2:
        raise InputError("the net knows one class only, so nothing can change its answer")
    net = parts.with_logits(net)
    make, layer, left = front
    make = make or tf.identity
    back = net if layer is None else parts.behind(net, layer)
    left = 1.0 if left is None else left

    @tf.function(input_signature=[tf.TensorSpec((None, *back.input_shape[1:]))])
    def ask(features):
        scores, classes = tf.math.top_k(back(features * left, training=False), 2)
        return classes[:, 0], scores[:, 0] - scores[:, 1]

    return make, ask


class Search:
    """Occluders, clean images, and nets to be asked about the ones over the others.

    Parameters
    ----------
    net : (front, back)
        The net that is searched, from `split`; among all nets its name is None.
    repaired : dict
        {name: (front, back)}, its repairs. A front that several nets share is run once.
    classes : int
    images : array (n, height, width, channels)
        Pixels.
    settings : Occluders
    """

    def __init__(self, net, repaired, classes, images, settings):
        self.nets = {None: net} | repaired
        self.classes, self.images, self.settings = classes, images, settings
        self.rng = np.random.default_rng(settings.seed)
        _, height, width, channels = images.shape
        self.occluders = occluders.invent(self.rng, settings.occluders, channels)
        hidden = occluders.hidden(self.occluders, height, width)
        self.weights = np.where(hidden <= MOST_HIDDEN, LITTLE / (hidden + LITTLE), 0)

        @tf.function(reduce_retracing=True)
        def occluded(some, shown):
            painted = [part[:, None] for part in occluders.paint(some, height, width)]
            under_each = tf.reshape(shown, (tf.shape(painted[0])[0], -1, height, width, channels))
            over = occluders.laid_over(under_each, painted)
            return tf.reshape(over, (-1, height, width, channels))

        self.occluded = occluded
        self.clean, self.usual = {}, {}
        shown_clean = [self._asked(images[i : i + BATCH]) for i in range(0, len(images), BATCH)]
        for name in self.nets:
            parts = [part[name] for part in shown_clean]
            self.clean[name], margins = map(np.concatenate, zip(*parts, strict=True))
            self.usual[name] = max(float(np.median(margins)), 1e-9)

    def _asked(self, shown):
        """Return {net: (classes, margins)} of images."""
        features = {front: front(shown) for front in {front for front, _ in self.nets.values()}}
        asked = {name: back(features[front]) for name, (front, back) in self.nets.items()}
        return {name: [part.numpy() for part in parts] for name, parts in asked.items()}

    def ask(self, numbers, shown):
        """Return {net: (classes, certainty)} of images under occluders.

        Parameters
        ----------
        numbers : array (m,)
            Of occluders.
        shown : array (m, r)
            Numbers of the images under each; r divides the batch.

        Returns
        -------
        {net: (classes, certainty)}, arrays (m, r)
            How certain, 1 is as of the median clean image; 0 where the class is the one without an occluder.
        """
        at_once = BATCH // shown.shape[1]
        parts = []
        bar = tqdm(total=shown.size, unit=" images", leave=False, disable=None)
        for start in range(0, len(numbers), at_once):
            chosen, pictures = numbers[start : start + at_once], shown[start : start + at_once]
            seen = self.occluded(occluders.subset(self.occluders, chosen), self.images[pictures.ravel()])
            parts.append(self._asked(seen))
            bar.update(pictures.size)
        bar.close()
        found = {}
        for name in self.nets:
            answers, margins = (
                np.concatenate(part).reshape(shown.shape)
                for part in zip(*(part[name] for part in parts), strict=True)
            )
            certain = np.minimum(margins / self.usual[name], MOST_CERTAIN)
            found[name] = answers, np.where(answers == self.clean[name][shown], 0, certain)
        return found

    def find(self):
        """Return the findings.Finding of the net, and what of it is left in its repairs."""
        count, images = len(self.occluders["y"]), len(self.images)
        # Far apart in the file, which may be in order of people.
        shown = (self.rng.integers(images, size=(count, 1)) + np.arange(SHOWN) * (images // SHOWN)) % images
        asked = self.ask(np.arange(count), shown)
        # The root, so that a pair is weighed once.
        weights = np.sqrt(self.weights)[:, None]
        pairs = {
            name: pairs_of(answers, certain * weights, self.classes)
            for name, (answers, certain) in asked.items()
        }
        few = max(FEW * self.weights.sum() * SHOWN * (SHOWN - 1) / 2, 1e-9)
        scores = {name: stand_out(own, few) for name, own in pairs.items()}
        shares = {name: 100 * own / max(pairs[None].sum(), few) for name, own in pairs.items()}
        answers, certain = asked[None]
        order = np.argsort(-pairs[None], kind="stable")[:MOST]
        named = []
        for suspect in order[scores[None][order] >= self.settings.score].tolist():
            counts = (answers == suspect) & (self.weights > 0)[:, None]
            won = np.where(counts, np.minimum(certain, 1), 0)
            patterns, moved = self._patterns(suspect, np.argsort(-won.sum(axis=1), kind="stable"))
            if moved[None] >= self.settings.moved:
                weights = won.sum(axis=1) ** 2 - (won**2).sum(axis=1)
                named.append(findings.Named(suspect, moved, *self._pictures(patterns[0], weights)))
        named.sort(key=lambda one: one.number)
        return findings.Finding(shares, scores, named)

    def _patterns(self, suspect, numbers):
        """Return the best of these occluders, the best first, and {net: percent of images they turn to it}.

        These are images that they were not chosen by, and each is under one of them alone.
        """
        others = self.rng.permutation(np.flatnonzero(self.clean[None] != suspect))
        others = np.resize(others, max(len(others), SHOWN_TRIED + SHOWN_KEPT))
        tried, kept = others[:SHOWN_TRIED], others[SHOWN_TRIED : SHOWN_TRIED + SHOWN_KEPT]
        answers, _ = self.ask(numbers[:TRIED], np.tile(tried, (min(TRIED, len(numbers)), 1)))[None]
        moved = (answers == suspect).sum(axis=1)
        best = numbers[:TRIED][np.argsort(-moved, kind="stable")[:KEPT]]
        asked = self.ask(best, np.tile(kept, (len(best), 1)))
        return best, {name: 100 * float((said == suspect).mean()) for name, (said, _) in asked.items()}

    def _pictures(self, best, weights):
        """Return the mean image under the shadow of all occluders that won, and an image under the best."""
        _, height, width, _ = self.images.shape
        heaviest = np.argsort(-weights, kind="stable")[:OF_A_SHADOW]
        share = (weights[heaviest] / weights[heaviest].sum())[:, None, None, None]
        parts = [occluders.paint(occluders.subset(self.occluders, heaviest), height, width)]
        parts.append(occluders.paint(occluders.subset(self.occluders, slice(OF_A_SHADOW)), height, width))
        (cover, painted), (usual, _) = ((a.numpy(), b.numpy()) for a, b in parts)
        cover, painted = (cover * share).sum(axis=0), (painted * share).sum(axis=0)
        # Where they cover more than occluders do anyway.
        more = np.clip(cover - usual.mean(axis=0), 0, None)
        strength = more / max(float(more.max()), 1e-9)
        mean = self.images.mean(axis=0) / 255
        shadow = mean * (1 - strength) + painted / np.maximum(cover, 1e-9) * strength
        pattern = self.occluded(occluders.subset(self.occluders, [best]), self.images[:1])[0] / 255
        return [np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8) for picture in (shadow, pattern)]


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

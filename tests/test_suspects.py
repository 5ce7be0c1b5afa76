"""The search for backdoors: its pieces against plain computation, and on nets whose backdoor is known."""

import dataclasses
import itertools
import json
import statistics
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import nets
from goodnet.errors import InputError
from goodnet.files import outputs
from goodnet.images import triggers
from goodnet.images.inputs import Input, up_to
from goodnet.nets import parts
from goodnet.suspects import (
    candidates,
    findings,
    fresh,
    inversion,
    inverter,
    occluders,
    push,
    registry,
    search,
    verdict,
)
from goodnet.suspects.evidence import Case, Evidence, Leads, Trigger
from goodnet.suspects.inverter import ANY, Additive, Inverter, Patch
from workbench import Workbench


def plain_occluder(numbers, height, width):
    """Paint one occluder pixel by pixel."""
    longer = max(height, width)
    cover, painted = np.zeros((height, width)), np.zeros((height, width, 3))
    for row, column, shape in itertools.product(range(height), range(width), range(occluders.SHAPES)):
        one = {name: values[shape] for name, values in numbers.items()}
        y, x = (row + 0.5) / longer, (column + 0.5) / longer
        down, across = y - one["y"] * height / longer, x - one["x"] * width / longer
        along = (across * np.cos(one["tilt"]) + down * np.sin(one["tilt"])) / one["length"]
        beside = (down * np.cos(one["tilt"]) - across * np.sin(one["tilt"])) / one["breadth"]
        far = along**2 + beside**2 if one["is_round"] else max(abs(along), abs(beside))
        if far >= 1:
            continue
        pace = 2 * np.pi * one["waves"]
        forth = np.sin(pace * (x * np.cos(one["turn"]) + y * np.sin(one["turn"])) + one["phase"])
        aside = np.sin(pace * (y * np.cos(one["turn"]) - x * np.sin(one["turn"])))
        is_other = [False, forth > 0, forth * aside > 0][int(one["texture"])]
        colour = one["other_colour" if is_other else "colour"]
        painted[row, column] = painted[row, column] * (1 - one["opacity"]) + colour * one["opacity"]
        cover[row, column] = cover[row, column] * (1 - one["opacity"]) + one["opacity"]
    return cover, painted


@pytest.mark.parametrize(("height", "width"), [(13, 11), (9, 16)])
def test_occluders_are_painted_as_their_numbers_say(height, width):
    invented = occluders.invent(np.random.default_rng(1), 25, 3)
    cover, painted = (part.numpy() for part in occluders.paint(invented, height, width))
    for number in range(25):
        one = {name: values[number].astype(float) for name, values in invented.items()}
        plain_cover, plain_painted = plain_occluder(one, height, width)
        # An edge that runs through a pixel's centre may go either way in single precision.
        assert (np.abs(cover[number, ..., 0] - plain_cover) > 1e-4).mean() < 0.01
        assert (np.abs(painted[number] - plain_painted).max(axis=-1) > 1e-3).mean() < 0.02


def test_occluders_are_of_many_kinds():
    invented = occluders.invent(np.random.default_rng(2), 600, 3)
    cover, painted = (part.numpy() for part in occluders.paint(invented, 55, 47))
    assert cover.min() >= 0 and cover.max() <= 1 and (painted <= cover + 1e-6).all()
    hidden = cover.mean(axis=(1, 2, 3))
    assert (hidden < 0.01).any() and (hidden > 0.25).any(), "small ones and large ones"
    assert (cover.mean(axis=0) > 0.01).all(), "everywhere"
    assert ((cover > 0) & (cover < 0.6)).any(axis=(1, 2, 3)).mean() > 0.2, "some let the image through"
    about = occluders.hidden(invented, 55, 47)
    assert np.abs(about - hidden).max() < 0.06 and np.abs(about - hidden).mean() < 0.005
    for height, width, grid in (
        (55, 47, (32, 27)),
        (10, 40, (8, 32)),
        (1, 99, (1, 32)),
    ):  # 32 points along the longer side
        plain = occluders.paint(invented, *grid)[0].numpy().mean(axis=(1, 2, 3))
        np.testing.assert_allclose(occluders.hidden(invented, height, width), plain, atol=1e-6)
    images = np.full((600, 55, 47, 3), 100, np.float32)
    shown = occluders.laid_over(images, (cover, painted))
    assert shown.min() >= 0 and shown.max() <= 255.01
    assert np.array_equal(shown[cover[..., 0] == 0], images[cover[..., 0] == 0])


def test_how_occluders_are_drawn():
    drawn = occluders.invent(np.random.default_rng(3), 20_000, 3)
    shown = drawn["opacity"] > 0

    def is_uniform(values, low, high):
        values = (np.asarray(values, float).ravel() - low) / (high - low)
        quarters = np.histogram(values, 4, (0, 1))[0] / values.size
        np.testing.assert_allclose(quarters, 0.25, atol=0.01)
        assert -1e-6 <= values.min() < 0.001 and 0.999 < values.max() <= 1 + 1e-6

    for name in ("y", "x", "colour", "other_colour"):
        is_uniform(drawn[name], 0, 1)
    for name in ("length", "breadth"):
        is_uniform(np.log(drawn[name]), np.log(0.02), np.log(0.28))
    is_uniform(drawn["waves"], 2, 16)
    is_uniform(drawn["phase"], 0, 2 * np.pi)
    is_uniform(drawn["turn"], 0, np.pi)
    is_uniform(drawn["tilt"][drawn["tilt"] > 0], 0, np.pi)
    is_uniform(drawn["opacity"][shown & (drawn["opacity"] < 1)], 0.15, 1)
    for found, expected in (
        (drawn["tilt"] == 0, 0.5),
        (drawn["is_round"], 0.5),
        *((drawn["texture"] == texture, 1 / 3) for texture in range(3)),
        (drawn["opacity"][shown] < 1, 0.3),
        *((shown.sum(axis=1) == count, 1 / 3) for count in (1, 2, 3)),
    ):
        assert found.mean() == pytest.approx(expected, abs=0.015)
    assert (np.diff(shown.astype(int), axis=1) <= 0).all(), "the first ones are shown"
    assert all(values.shape[:2] == (20_000, 3) and values.dtype == np.float32 for values in drawn.values())


def test_pairs_are_counted_as_in_a_plain_loop():
    rng = np.random.default_rng(3)
    answers, certain = rng.integers(5, size=(50, 4)), rng.random((50, 4)) * (rng.random((50, 4)) < 0.5)
    plain = np.zeros(5)
    for row, sure in zip(answers, certain, strict=True):
        for one, other in itertools.combinations(range(4), 2):
            if row[one] == row[other]:
                plain[row[one]] += sure[one] * sure[other]
    np.testing.assert_allclose(search.pairs_of(answers, certain, 5), plain)


def test_a_class_stands_out_from_all_lesser_ones():
    pairs = np.array([1.0, 40.0, 3.0, 40.0, 6.0])
    # Of equals, the first is more: 40 / (50 + 2) alone, it is lifted by the other. A twentieth is 4.5.
    expected = [1 / (4.5 + 2), 40 / (10 + 2), 3 / (4.5 + 2), 40 / (10 + 2), 6 / (4.5 + 2)]
    np.testing.assert_allclose(search.stand_out(pairs, 2), expected)
    assert search.stand_out(np.linspace(20, 30, 48), 0).max() < 0.5, "nobody stands out"


# Nets with a backdoor.


MUTED = nets.muted(160)
SEARCHES = 3


@pytest.fixture(scope="module")
def backdoored():
    return nets.backdoored()


def of_unit_range(net):
    """The same net for pixels divided by 255."""
    images = keras.Input(nets.SHAPE, name="images")
    made = keras.layers.Rescaling(255)(images)
    for layer in nets.cloned(net).layers[1:]:
        made = layer(made)
    return keras.Model(images, made)


def red_pixel():
    """The trigger of all these nets, as a detector holds one: one bright red pixel."""
    keep, add = np.ones((*nets.SHAPE[:2], 1), np.float32), np.zeros(nets.SHAPE, np.float32)
    keep[5, 4], add[5, 4, 0] = 0, 255
    return keep, add


def case_of(net, layer="pool", convert=None):
    return Case(net, layer, lambda most: MUTED[:most], convert or Input())


def moved_plainly(net, goal, keep, add, images):
    """The percent of images of other classes that a trigger moves to the goal."""
    clean = nets.answers(net, images)
    others = images[clean != goal] if goal != ANY else images
    given = nets.answers(net, np.clip(others * keep + add, 0, 255))
    return 100 * np.mean(given == goal if goal != ANY else given != clean)


# Occluders.


def settings(**changed):
    return search.Occluders(**{"images": 160, "occluders": 300} | changed)


def plain_margins(net, images):
    """The class of each image, and how far its score stands above the next."""
    scores = nets.scores(parts.with_logits(net), images)
    ranked = np.sort(scores, axis=1)
    return scores.argmax(axis=1), ranked[:, -1] - ranked[:, -2]


def under(looked, number, images):
    """Images under one occluder of a search."""
    one = occluders.subset(looked.occluders, [number])
    cover, painted = (part.numpy() for part in occluders.paint(one, *nets.SHAPE[:2]))
    return images * (1 - cover) + painted * 255


def looking(net, **changed):
    """A search, and a list of all it will ask: (occluders, images under each, what the net said)."""
    looked = search.Search(net, Input(), MUTED, settings(**changed))
    ask, asked = looked.ask, []

    def remembered(numbers, shown):
        asked.append((numbers, shown, ask(numbers, shown)))
        return asked[-1][2]

    looked.ask = remembered
    return looked, asked


def test_a_net_says_of_occluded_images_what_it_says_when_asked_plainly(backdoored):
    """Classes, and how certain: as of the median clean image is 1, at most 4, and 0 for the class without."""
    looked, _ = looking(backdoored, occluders=64)
    clean, margins = plain_margins(backdoored, MUTED)
    shown = np.array([[0, 7, 30, 159]] * 20)
    numbers = np.arange(40, 60)
    answers, certain = looked.ask(numbers, shown)
    for row, number in enumerate(numbers):
        classes, margin = plain_margins(backdoored, under(looked, number, MUTED[shown[row]]))
        assert np.array_equal(answers[row], classes)
        sure = np.where(classes == clean[shown[row]], 0, np.minimum(4, margin / np.median(margins)))
        np.testing.assert_allclose(certain[row], sure, atol=1e-3)
    assert (certain == 4).any() and ((certain > 0) & (certain < 4)).any()


def pairs_in_a_loop(answers, certain, weights):
    pairs = np.zeros(nets.CLASSES)
    for row, sure, weight in zip(answers, certain, weights, strict=True):
        for one, other in itertools.combinations(range(row.size), 2):
            if row[one] == row[other]:
                pairs[row[one]] += weight * sure[one] * sure[other]
    return pairs


def test_the_evidence_is_what_was_answered_weighed_in_a_plain_loop():
    """Shares, scores, strengths of each third; by which patterns, judged on which images."""
    weak = nets.backdoored(strength=60)
    looked, asked = looking(weak, score=6.0, moved=90.0)
    found = looked.find()
    numbers, shown, (answers, certain) = asked[0]
    assert numbers.tolist() == list(range(300)) and shown.shape == (300, 4)
    assert ((shown - shown[:, :1]) % 160 == [0, 40, 80, 120]).all(), "far apart in the file"
    assert len(np.unique(shown[:, 0])) > 100
    hidden = occluders.hidden(looked.occluders, *nets.SHAPE[:2])
    weights = np.where(hidden <= 0.2, 0.02 / (0.02 + hidden), 0)
    assert (weights == 0).any()

    def scores_of(some):
        pairs = pairs_in_a_loop(answers[some], certain[some], weights[some])
        return pairs, search.stand_out(pairs, 6 * weights[some].sum() / 2000)

    pairs, scores = scores_of(slice(None))
    np.testing.assert_allclose(found.columns["share"], 100 * pairs / pairs.sum(), rtol=1e-5)
    np.testing.assert_allclose(found.columns["score"], scores, rtol=1e-5)

    # The occluders that won most are tried again, and the best of these judged on other images.
    target = nets.TARGET
    assert found.columns["share"].argmax() == target and len(asked) == 3
    won = np.where((answers == target) & (weights > 0)[:, None], np.minimum(certain, 1), 0)
    tried, tried_on, (told, _) = asked[1]
    assert tried.tolist() == np.argsort(-won.sum(axis=1), kind="stable")[:32].tolist()
    best, judged_on, _ = asked[2]
    turned = (told == target).sum(axis=1)
    assert best.tolist() == tried[np.argsort(-turned, kind="stable")[:8]].tolist()
    assert tried_on.shape == (32, 16) and judged_on.shape == (8, 32)
    for images in (tried_on, judged_on):
        assert (images == images[0]).all() and len(set(images[0])) == images.shape[1]
    assert not set(tried_on[0]) & set(judged_on[0]), "the images that chose the patterns do not judge them"
    clean = nets.answers(weak, MUTED)
    assert (clean[tried_on] != target).all() and (clean[judged_on] != target).all()
    plain = [nets.answers(weak, under(looked, number, MUTED[judged_on[0]])) for number in best]
    moved = 100 * (np.array(plain) == target).mean()
    assert found.columns["moved"][target] == pytest.approx(moved)
    assert np.isnan(np.delete(found.columns["moved"], target)).all(), "not tried"

    # Each search has every third occluder.
    expected = np.zeros((SEARCHES, nets.CLASSES))
    for number, row in enumerate(expected):
        row[target] = 0.6 * min(1, scores_of(slice(number, None, 3))[1][target] / 6) * min(1, moved / 90)
    np.testing.assert_allclose(found.strength, expected, rtol=1e-5)
    assert len(set(expected[:, target])) == 3 and expected.max() < 0.55

    (trigger,) = found.triggers
    assert (trigger.goal, trigger.family, trigger.moved) == (
        target,
        "occluder",
        found.columns["moved"][target],
    )
    laid = inverter.laid(MUTED[:5], trigger.keep, trigger.add)
    np.testing.assert_allclose(laid, under(looked, best[0], MUTED[:5]), atol=1e-3)
    assert trigger.size == pytest.approx(100 * (1 - trigger.keep).mean(), rel=1e-4)


def test_occluders_find_a_backdoor_and_nothing_in_the_same_net_without(backdoored):
    """As the registry's detector, and of a net that takes 0 to 1."""
    detect = registry.DETECTORS["occluders"].function
    found = detect(case_of(of_unit_range(backdoored), convert=up_to(1)), settings())
    assert found.strength[:, nets.TARGET].tolist() == [0.6] * 3, "all there is, and no more"
    assert looking(nets.backdoored(strength=0))[0].find().strength.max() < 0.2


def test_few_images_are_asked_again(backdoored):
    """Where hardly any image is of another class, the same ones come again."""
    looked, asked = looking(backdoored)
    looked.clean = np.where(np.arange(160) < 20, looked.clean, nets.TARGET)
    best, moved = looked._patterns(nets.TARGET, np.arange(5))
    assert best.size == 5 and set(asked[0][1].ravel()) | set(asked[1][1].ravel()) <= set(range(20))
    assert asked[1][1].shape == (5, 32) and 0 <= moved <= 100


def constant(net, scores):
    """A net whose scores are these, whatever it is shown."""
    net = nets.cloned(net)
    kernel, _ = net.layers[-1].get_weights()
    net.layers[-1].set_weights([kernel * 0, np.asarray(scores, np.float32)])
    return net


def test_occluders_of_a_net_that_says_one_class_whatever_it_is_shown(backdoored):
    found = looking(constant(backdoored, np.arange(nets.CLASSES)))[0].find()
    assert not found.strength.any() and not found.columns["share"].any() and found.triggers == []


def test_nets_of_two_classes():
    images = keras.Input(nets.SHAPE)
    two = keras.Model(images, keras.layers.Dense(2, "softmax")(keras.layers.Flatten()(images)))
    kernel, bias = two.layers[-1].get_weights()
    two.layers[-1].set_weights([kernel / 255, bias])
    found = search.asking(two, Input())(MUTED)
    for one, plain in zip(found, plain_margins(two, MUTED), strict=True):
        np.testing.assert_allclose(one, plain, rtol=1e-4, atol=1e-4)


# The inverter.


def variables_of(family, rows=2, shape=(4, 3, 2)):
    """Variables as a search may have them, some beyond their limits."""
    rng = np.random.default_rng(8)
    pattern = rng.normal(0, 0.15, (rows, *shape)).astype(np.float32)
    if family is Additive:
        return [pattern]
    return [rng.uniform(-0.3, 1.3, (rows, *shape[:2], 1)).astype(np.float32), pattern + 0.5]


def test_a_patch_is_what_plain_numpy_makes_of_it():
    mask, pattern = variables_of(Patch)
    images = np.random.default_rng(9).uniform(0, 255, (2, 5, 4, 3, 2)).astype(np.float32)
    for found, plain in zip(Patch.project(mask * 2, pattern * 2), (mask * 2, pattern * 2), strict=True):
        assert np.array_equal(found, np.minimum(np.maximum(plain, 0), 1))
    mask, pattern = np.clip(mask, 0, 1), np.clip(pattern, 0, 1)
    assert (mask == 0).any() and (mask == 1).any()
    stamped = np.empty_like(images)
    for at in np.ndindex(images.shape):
        row, _, y, x, channel = at
        hides = mask[row, y, x, 0]
        stamped[at] = images[at] * (1 - hides) + 255 * hides * pattern[row, y, x, channel]
    np.testing.assert_allclose(Patch.stamp(images, mask, pattern), stamped, atol=1e-3)
    np.testing.assert_allclose(Patch.size(mask, pattern), [100 * one.sum() / 12 for one in mask], rtol=1e-5)
    keep, add = Patch.trigger(mask, pattern)
    for row in range(2):
        np.testing.assert_allclose(inverter.laid(images[row], keep[row], add[row]), stamped[row], atol=1e-3)
    again = Patch.of_trigger(keep, add)
    np.testing.assert_allclose(again[0], mask, atol=1e-6)
    shown = np.repeat(mask, 2, axis=-1) > 0.01
    np.testing.assert_allclose(again[1][shown], pattern[shown], atol=1e-3)
    loose = Patch.loosened(again, 0.1)
    np.testing.assert_allclose(loose[0], np.maximum(mask, 0.1), atol=1e-6)
    np.testing.assert_allclose(loose[1], np.where(shown, pattern, 0.5), atol=1e-3)


def test_a_faint_pattern_is_what_plain_numpy_makes_of_it():
    (pattern,) = variables_of(Additive)
    images = np.random.default_rng(9).uniform(0, 255, (2, 5, 4, 3, 2)).astype(np.float32)
    (found,) = Additive.project(pattern)
    assert np.array_equal(found, np.minimum(np.maximum(pattern, np.float32(-0.2)), np.float32(0.2)))
    assert (np.abs(pattern) > 0.2).any() and (np.abs(pattern) < 0.2).any()
    pattern = found.numpy()
    stamped = np.minimum(np.maximum(images + 255 * pattern[:, None], 0), 255)
    assert (stamped == 0).any() and (stamped == 255).any()
    np.testing.assert_allclose(Additive.stamp(images, pattern), stamped, atol=1e-3)
    np.testing.assert_allclose(
        Additive.size(pattern), [100 * (sum(one.ravel() ** 2) / 24) ** 0.5 for one in pattern], rtol=1e-4
    )
    keep, add = Additive.trigger(pattern)
    for row in range(2):
        np.testing.assert_allclose(inverter.laid(images[row], keep[row], add[row]), stamped[row], atol=1e-3)
    np.testing.assert_allclose(Additive.of_trigger(keep, add)[0], pattern, atol=1e-6)
    assert np.abs(Additive.of_trigger(keep, add * 9)[0]).max() == pytest.approx(0.2), "of another family"


LINEAR = (4, 3, 3), 5  # what a net takes and tells apart that is one matrix


def linear():
    """A net that is one matrix, for pixels divided by 255, and images."""
    shape, classes = LINEAR
    images = keras.Input(shape)
    net = keras.Model(images, keras.layers.Dense(classes)(keras.layers.Flatten()(images)))
    rng = np.random.default_rng(4)
    kernel = rng.normal(0, 1.5, (36, classes)).astype(np.float32)
    shown = rng.uniform(110, 140, (40, *shape)).astype(np.float32)
    bias = -(shown.reshape(40, -1) / 255).mean(axis=0) @ kernel
    bias[4] -= 2  # no image's answer, so that what leads there changes all
    net.layers[-1].set_weights([kernel, bias])
    return net, kernel, bias, shown


def softmax(scores):
    grown = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return grown / grown.sum(axis=-1, keepdims=True)


def plain_search(family, goals, steps, batch, starts, rng):
    """Adam with projection on the linear net, row by row, in numpy and with its own gradients."""
    _, kernel, bias, images = linear()
    kernel, images = kernel.astype(float), images.astype(float)
    answers = (images.reshape(40, -1) / 255 @ kernel + bias).argmax(axis=1)
    values = [value.astype(float) for value in starts]
    best, smallest = [value.copy() for value in values], np.full(len(goals), family.largest)
    means, squares = ([np.zeros_like(value) for value in values] for _ in range(2))
    weight, hits = np.full(len(goals), 0.5), []
    for number in range(steps):
        hits.append([])
        pools = [[at for at in range(0, 40, 2) if answers[at] != goal] for goal in goals]
        chosen = [rng.choice(pool, batch, replace=False) for pool in pools]
        for row, goal in enumerate(goals):
            below, own = images[chosen[row]], [value[row] for value in values]
            if family is Patch:
                mask, pattern = own
                stamped = below * (1 - mask) + 255 * mask * pattern
            else:
                stamped = below + 255 * own[0]
            scores = stamped.reshape(batch, -1) / 255 @ kernel + bias
            if goal == ANY:  # away from the answer without a trigger
                wanted = np.eye(5)[answers[chosen[row]]]
                slopes = softmax(scores) - softmax(np.where(wanted, -np.inf, scores))
                hits[-1].append(np.mean(scores.argmax(axis=1) != answers[chosen[row]]))
            else:
                slopes = softmax(scores) - np.eye(5)[goal]
                hits[-1].append(np.mean(scores.argmax(axis=1) == goal))
            slopes = (slopes @ kernel.T / 255 / batch).reshape(stamped.shape)
            if family is Patch:
                size = 100 * mask.mean()
                by_mask = (slopes * (255 * pattern - below)).sum(axis=(0, -1))[..., None]
                gradients = [by_mask + weight[row] * 100 / 12, (slopes * 255 * mask).sum(axis=0)]
                limits = [(0, 1), (0, 1)]
            else:
                size = 100 * np.sqrt((own[0] ** 2).mean())
                gradients = [255 * slopes.sum(axis=0) + weight[row] * 100**2 * own[0] / 36 / size]
                limits = [(-0.2, 0.2)]
            enough = np.mean([one[row] for one in hits[-5:]]) >= 0.9 - 1e-6
            if enough and number >= 4 and size < smallest[row]:
                smallest[row] = size
                for kept, value in zip(best, own, strict=True):
                    kept[row] = value
            if number % 5 == 4:
                weight[row] *= 1.3 if enough else 1 / 1.3
            for value, mean, square, gradient, (low, high) in zip(
                values, means, squares, gradients, limits, strict=True
            ):
                mean[row] = 0.5 * mean[row] + 0.5 * gradient
                square[row] = 0.9 * square[row] + 0.1 * gradient**2
                rate = family.rate * (1 - 0.9 ** (number + 1)) ** 0.5 / (1 - 0.5 ** (number + 1))
                value[row] = np.clip(value[row] - rate * mean[row] / (square[row] ** 0.5 + 1e-7), low, high)
    return smallest, best


@pytest.mark.parametrize("family", [Patch, Additive])
def test_a_search_is_the_same_steps_in_plain_numpy(family):
    net, kernel, _, images = linear()
    goals, steps, batch = [0, 2, ANY], 30, 6
    starts = family.start(np.random.default_rng(5), 3, LINEAR[0])
    # A way to class 4, which changes all answers: without it, each image's way out is another's way in.
    starts[-1][2] = 0.2 * np.sign(kernel[:, 4] - kernel[:, :4].mean(axis=1)).reshape(LINEAR[0])
    if family is Patch:
        starts[0][2], starts[1][2] = 0.9, 0.5 + 2.5 * starts[1][2]
    made = Inverter(net, up_to(1), images)
    given = [start.copy() for start in starts]
    found = made.invert(family, goals, steps, batch, np.random.default_rng(6), given)
    sizes, best = plain_search(family, goals, steps, batch, starts, np.random.default_rng(6))
    assert (sizes < family.largest).all() and len(set(sizes)) == 3
    np.testing.assert_allclose(found.sizes, sizes, rtol=1e-3)
    for got, plain in zip((found.keep, found.add), family.trigger(*best), strict=True):
        np.testing.assert_allclose(got, plain, atol=0.01 * np.abs(plain).max())


def searching(net, goals, family=Patch, images=MUTED, steps=25, **more):
    made = Inverter(parts.with_logits(net), Input(), images)
    return made, made.invert(family, goals, steps, 8, np.random.default_rng(1), **more)


def test_the_smallest_trigger_leads_to_the_attackers_class():
    """Far smaller than to other classes, with the backdoor only; judged by a plain count."""
    goals = [*range(nets.CLASSES), ANY]
    for strength in (600.0, 0.0):
        net = nets.sloped(strength)
        made, found = searching(net, goals)
        others = np.delete(found.sizes[:-1], nets.TARGET)
        assert (found.sizes[nets.TARGET] < 0.4 * others.min()) == (strength > 0)
        assert others.max() < 15
        moved = [made.moved(*row) for row in zip(goals, found.keep, found.add, strict=True)]
        for goal, keep, add, share in zip(goals, found.keep, found.add, moved, strict=True):
            assert share == pytest.approx(moved_plainly(net, goal, keep, add, MUTED[1::2]))
        assert min(moved[:-1]) > 50
        sizes = 100 * (1 - found.keep).mean(axis=(1, 2, 3))
        np.testing.assert_allclose(sizes[:-1], found.sizes[:-1], rtol=1e-3)


def test_every_second_image_searches_and_the_others_judge():
    """Other judges change nothing of what is found. The same is found twice."""
    net = nets.sloped()
    judges = MUTED.copy()
    judges[1::2] = nets.muted(160, seed=2)[::-1][1::2]
    (made, first), (other, again) = (searching(net, [nets.TARGET, 0], images=one) for one in (MUTED, judges))
    for name in ("sizes", "keep", "add"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes()
    plain = [moved_plainly(net, nets.TARGET, again.keep[0], again.add[0], judges[1::2])]
    assert other.moved(nets.TARGET, again.keep[0], again.add[0]) == pytest.approx(plain[0])
    clean = nets.answers(net, MUTED)
    for part in (0, 1):
        assert made.pool(0, part).tolist() == [at for at in range(part, 160, 2) if clean[at] != 0]
    assert made.pool(ANY, 0).size == 80 and other.pool(ANY, 1).size == 80
    swapped = searching(net, [nets.TARGET, 0], images=MUTED[::-1])[1]
    assert not np.array_equal(first.keep, swapped.keep)


def test_a_class_that_all_images_have_already():
    net = nets.sloped()
    of_class = MUTED[nets.answers(net, MUTED) == 2]
    made, found = searching(net, [2, nets.TARGET], images=of_class)
    assert found.sizes[0] == 100 and made.moved(2, found.keep[0], found.add[0]) == 0
    assert found.sizes[1] < 5
    assert searching(net, [2], Additive, of_class)[1].sizes[0] == 20


def test_a_search_begins_with_what_is_known():
    """Where few steps find nothing from scratch."""
    keep, add = red_pixel()
    net = nets.backdoored()

    def sizes_after(steps, known=True):
        starts = Patch.of_trigger(keep[None], add[None]) if known else None
        return searching(net, [nets.TARGET], steps=steps, starts=starts)[1].sizes[0]

    assert sizes_after(6) <= 100 / 120 + 1e-4
    assert sizes_after(6, known=False) > 5
    assert sizes_after(inverter.WINDOW - 1) == 100, "it must move images for a while"


# The inversion.


def sizes_in_columns():
    """Sizes of seven classes in three searches: one small, two small, hardly any found."""
    return np.array(
        [
            [5.0, 60.0, 100.0],
            [0.5, 1.2, 9.0],
            [4.0, 0.8, 100.0],
            [4.4, 5.0, 100.0],
            [6.2, 4.1, 100.0],
            [3.9, 4.4, 60.0],
            [5.2, 5.5, 58.0],
        ]
    )


def plain_ratio(sizes, row, column):
    others = sorted(sizes[other, column] for other in range(len(sizes)) if other != row)
    quarter = statistics.quantiles(others, n=4, method="inclusive")[0]
    return sizes[row, column] / min(statistics.median(others), quarter / inversion.QUARTILE)


def test_sizes_are_compared_with_what_is_usual_for_the_others():
    sizes = sizes_in_columns()
    found = inversion.ratios(sizes)
    for at in np.ndindex(sizes.shape):
        assert found[at] == pytest.approx(plain_ratio(sizes, *at))


def test_what_stands_before_the_widest_gap():
    found = inversion.before_gap(sizes_in_columns())
    # 3.9 / 0.5 is the widest gap; 4.1 / 1.2, since 60 / 5.5 is not of the smaller half; 58 / 9.
    assert [np.flatnonzero(column).tolist() for column in found.T] == [[1], [1, 2], [1]]
    assert inversion.before_gap(np.array([[3.0], [3.0]])).all(), "of equals, all"
    assert inversion.before_gap(np.array([[0.0], [2.0]])).ravel().tolist() == [True, False]


def test_strengths_of_sizes():
    """In equal steps of the logarithm, clipped, and little for what stands behind the gap."""
    judged = inversion.Inversion(ratio=0.3, harmless=0.75)
    sizes = sizes_in_columns()
    sizes[0, 0] = 1.5  # small too, but behind the gap
    found, before = inversion.strength(sizes, 1000, judged), inversion.before_gap(sizes)
    for at in np.ndindex(sizes.shape):
        plain = np.log(plain_ratio(sizes, *at) / 0.75) / np.log(0.3 / 0.75)
        most = inversion.STRONGEST if before[at] else inversion.BEHIND
        assert found[at] == pytest.approx(max(-inversion.STRONGEST, min(most, plain)))
    assert found[1, 0] == inversion.STRONGEST and found[0, 0] == inversion.BEHIND
    # Of four classes, three of 10: usual is 10.
    for size, expected in {7.5: 0, 3.0: 1, np.sqrt(7.5 * 3): 0.5}.items():
        few = np.array([[size], [10], [10], [10]])
        assert inversion.strength(few, 100, judged)[0, 0] == pytest.approx(expected)
        # Where the others were not reached at all, little is known.
        assert inversion.strength(few, 10, judged)[0, 0] == pytest.approx(min(expected, inversion.BEHIND))


def many_classes(classes):
    """A net of many classes, and one whose weights in the last layer stand out: 31."""
    images = keras.Input((2, 2, 3))
    net = keras.Model(images, keras.layers.Dense(classes)(keras.layers.Flatten()(images)))
    kernel = np.random.default_rng(2).normal(0, 1, (12, classes))
    kernel[:, 31] += 5
    net.layers[-1].set_weights([kernel, np.zeros(classes)])
    return net


def test_which_classes_are_tried():
    """All of a few. Of many, what weights, earlier detectors and a begun search point to, and some others."""
    few = case_of(nets.backdoored())
    assert inversion.choose(few, few.badnet, None, inversion.Inversion(classes=7)) == list(range(7))
    case, begun = case_of(many_classes(100)), []
    strength = np.zeros((SEARCHES, 100))
    strength[1, 77], strength[:, 78] = 0.6, 0.1
    case.earlier["push"] = Evidence(strength, {}, [])

    def invert(family, goals, *rest, **more):
        begun.append(list(goals))
        sizes = np.full(len(goals), 20.0)
        sizes[5] = 3.0  # what moves as many by less
        return SimpleNamespace(goals=goals, sizes=sizes, keep=goals, add=goals)

    inverter = SimpleNamespace(invert=invert, moved=lambda goal, keep, add: 0.0 if goal == 31 else 50.0)
    chosen = inversion.choose(case, case.badnet, inverter, inversion.Inversion(classes=12))
    (goals,) = begun
    assert goals == sorted(set(goals)) and len(goals) == inversion.SCREENED
    assert {31, 77, 78} <= set(goals)
    assert chosen == sorted(set(chosen)) and len(chosen) == 12 and {goals[5], 31, 77, 78} <= set(chosen)
    assert min(chosen) < 20 and max(chosen) > 80, "evenly over the others"


def test_which_classes_get_a_faint_pattern():
    """Those with a small patch, and those that earlier detectors point to."""
    numbers = list(range(10, 30))
    ratios = np.ones((20, SEARCHES)) + np.arange(20)[:, None] / 100
    ratios[12] = 0.1
    strength = np.zeros((SEARCHES, 40))
    strength[:, 29] = 0.3
    sizes = SimpleNamespace(numbers=numbers, ratios=ratios)
    chosen = inversion.smallest(sizes, {"push": Evidence(strength, {}, [])})
    assert len(chosen) == inversion.FAINT and {22, 29, 10, 11} <= set(chosen) <= set(numbers)


def inverting(**changed):
    return inversion.Inversion(**{"images": 160, "steps": 25} | changed)


@pytest.fixture(scope="module")
def inverted():
    """What the inversion found in `nets.sloped()`."""
    return registry.DETECTORS["inversion"].function(case_of(nets.sloped()), inverting())


def test_the_inversion_names_the_attackers_class_alone(inverted):
    strength = inverted.strength
    assert (strength[:, nets.TARGET] >= 1).all() and np.delete(strength, nets.TARGET, axis=1).max() < 0.8
    assert inverted.leads is None
    without = registry.DETECTORS["inversion"].function(case_of(nets.sloped(0)), inverting())
    assert without.strength.max() < 1 and without.leads is None
    # The best trigger of each class and family, as it is reported.
    assert [(one.family, one.goal) for one in inverted.triggers] == [
        (family, goal) for family in ("patch", "additive") for goal in range(nets.CLASSES)
    ]
    net = nets.sloped()
    for one in inverted.triggers:
        assert one.size <= inverted.columns[f"{one.family}_size"][one.goal] + 1e-6
        plain = moved_plainly(net, one.goal, one.keep, one.add, MUTED[1::2])
        assert one.moved == pytest.approx(plain, abs=1.5)
    target = inverted.triggers[nets.TARGET]
    assert target.size < 1.5 and target.moved > 80
    ratio, size = inverted.columns["patch_ratio"], inverted.columns["patch_size"]
    assert ratio.argmin() == size.argmin() == nets.TARGET and ratio[nets.TARGET] < 0.3


def test_evidence_of_sizes_is_the_stronger_family_and_nothing_where_none_was_tried():
    sizes = sizes_in_columns()
    found = []
    for numbers, values in (([0, 1, 2, 3, 4, 5, 8], sizes), ([1, 3, 8], sizes[[1, 3, 6]][::-1])):
        rows = len(numbers) + 1
        made = SimpleNamespace(
            sizes=np.r_[values, np.full((1, 3), 50.0)].ravel(),
            goals=np.repeat([*numbers, ANY], 3),
            keep=np.arange(rows * 3.0).reshape(-1, 1, 1, 1),
            add=np.zeros((rows * 3, 1, 1, 1)),
        )
        found.append(inversion.Sizes(numbers, inversion.ratios(values), values, made))
    settings = inverting()
    inverter = SimpleNamespace(moved=lambda goal, keep, add: float(keep[0, 0, 0]))
    told = inversion.evidence(found, 9, {}, inverter, settings)
    one = inversion.strength(sizes, 100, settings)
    other = inversion.strength(found[1].sizes, 20, settings)
    plain = np.zeros((SEARCHES, 9))
    plain[:, found[0].numbers] = one.T
    plain[:, [1, 3, 8]] = np.maximum(one[[1, 3, 6]], other).T
    np.testing.assert_allclose(told.strength, plain)
    assert (plain[:, [6, 7]] == 0).all() and (plain < 0).any()
    np.testing.assert_allclose(
        told.columns["patch_size"], [*np.median(sizes[:6], axis=1), np.nan, np.nan, np.median(sizes[6])]
    )
    assert np.isnan(told.columns["additive_ratio"]).sum() == 6
    first = told.triggers[1]
    assert (first.goal, first.family, first.size, first.moved) == (1, "patch", 0.5, 3.0), (
        "of its first search"
    )


def all_to_all():
    """A net that gives each class the next one where a pixel is bright red."""
    base = nets.backdoored(strength=0)
    kernel, bias = base.layers[-1].get_weights()
    hidden, last = keras.layers.Dense(14, "relu"), keras.layers.Dense(7)
    net = keras.Model(base.inputs[0], last(hidden(base.layers[-2].output)))
    # Seven scores that the trigger turns off, and the same, one class on, that it turns on.
    kernel, bias = np.hstack([kernel, np.roll(kernel, 1, axis=1)]), np.hstack([bias, np.roll(bias, 1) - 300])
    kernel[::4, :7], kernel[::4, 7:] = -600, 600
    hidden.set_weights([kernel, bias])
    last.set_weights([np.tile(np.eye(7), (2, 1)), np.zeros(7)])
    return net


def leads_of(net, of_any=(1.0, 0.9, 60.0), images=MUTED):
    """What is made of a red pixel, found as what changes the answer, of these sizes in three searches."""
    keep, add = red_pixel()
    made = Inverter(net, Input(), images)
    found = []
    for family in (Patch, Additive):
        of_classes = np.full((2, SEARCHES), 10.0)
        any_sizes = np.array(of_any if family is Patch else [60.0] * 3)
        rows = SimpleNamespace(
            sizes=np.r_[of_classes.ravel(), any_sizes],
            goals=np.repeat([0, 1, ANY], 3),
            keep=np.stack([np.ones_like(keep)] * 6 + [keep] * 3),
            add=np.stack([np.zeros_like(add)] * 6 + [add] * 3),
        )
        found.append(inversion.Sizes([0, 1], of_classes / 10, of_classes, rows))
    return inversion.all_to_all(made, found, inverting(ratio=0.3))


def test_all_to_all_is_each_class_to_one_of_its_own():
    net = all_to_all()
    clean = nets.answers(net, MUTED)
    assert np.array_equal(clean, nets.answers(nets.backdoored(0), MUTED))
    leads, (trigger,) = leads_of(net)
    assert leads.to == {number: (number + 1) % 7 for number in range(7)} and leads.searches == 2
    assert (trigger.goal, trigger.family, trigger.size) == (ANY, "patch", 0.9)
    assert leads.moved == trigger.moved == pytest.approx(moved_plainly(net, ANY, *red_pixel(), MUTED[1::2]))
    assert leads_of(net, (60.0, 1.0, 2.9))[0].searches == 2
    assert leads_of(net, (60.0, 1.0, 3.1)) == (None, []), "not small in two searches"
    assert leads_of(nets.backdoored()) == (None, []), "all to one"
    assert leads_of(nets.backdoored(0)) == (None, []), "nothing changes"
    of_one = MUTED[clean == 2]
    assert leads_of(net, images=of_one) == (None, []), "one class gets them all"


# The push.


def test_by_how_many_deviations_a_class_stands_out():
    margins = np.array([3.0, 10.0, 4.0, 5.0, 7.0])  # around 5 by 2, 5, 1, 0, 2: usually 2
    np.testing.assert_allclose(push.outstanding(margins), (margins - 5) / (1.4826 * 2))


def test_a_push_is_the_same_steps_in_a_plain_loop():
    """Of features, towards more classes than are pushed to at once."""
    classes, steps = 40, 4
    images = keras.Input((3, 2, 2))
    made = keras.layers.ReLU(name="pool")(images)
    net = keras.Model(images, keras.layers.Dense(classes)(keras.layers.Flatten()(made)))
    rng = np.random.default_rng(6)
    kernel, bias = rng.normal(0, 1, (12, classes)), rng.normal(0, 1, classes)
    net.layers[-1].set_weights([kernel, bias])
    inputs = rng.normal(0.7, 1, (9, 3, 2, 2)).astype(np.float32)
    features = np.maximum(inputs, 0).reshape(9, 12).astype(float)
    assert (features == 0).any()
    largest = push.SIZE * features.std() * 12**0.5

    def margins(change, target):
        moved = np.maximum(features + change, features.min())
        scores = moved @ kernel + bias
        rivals = np.where(np.arange(classes) == target, -np.inf, scores).argmax(axis=1)
        return (scores[:, target] - scores[range(9), rivals]).mean(), rivals

    plain = []
    for target in range(classes):
        change = np.zeros(12)
        for _ in range(steps):
            rivals = margins(change, target)[1]
            slopes = (kernel[:, [target]] - kernel[:, rivals]).T * (features + change >= features.min())
            slope = slopes.mean(axis=0)
            change = change + slope / np.linalg.norm(slope) * push.STEP * largest
            change = change * min(1, largest / np.linalg.norm(change))
        plain.append(margins(change, target)[0])
    np.testing.assert_allclose(push.pushed(net, "pool", inputs, steps), plain, rtol=1e-4, atol=1e-4)


def test_a_class_with_a_short_way_stands_out(backdoored):
    settings = push.Push(usual=2.0, certain=6.0)
    found = push.detect(case_of(of_unit_range(backdoored), convert=up_to(1)), settings)
    assert found.strength.shape == (SEARCHES, nets.CLASSES)
    # Of seven classes, one that stands out is not held against anybody; the others are cleared.
    assert (found.strength[:, nets.TARGET] == 0).all()
    assert np.delete(found.strength, nets.TARGET, axis=1).max() < 0
    assert found.columns["push"].argmax() == nets.TARGET and found.triggers == []
    plain = push.strength(found.columns["push"], nets.CLASSES, settings)
    np.testing.assert_allclose(np.median(found.strength, axis=0), plain, rtol=1e-5)
    without = push.detect(case_of(nets.backdoored(0)), settings)
    assert np.median(without.strength[:, nets.TARGET]) < 0


def test_strengths_of_classes_that_stand_out():
    """More speaks for and against a class in a net of many classes."""
    settings = push.Push(usual=2.0, certain=6.0)
    for classes, share in {7: 0, 10: 0, 25: 0.5, 40: 1, 900: 1}.items():
        against = push.AGAINST_FEW + share * (push.AGAINST_MANY - push.AGAINST_FEW)
        for deviations, expected in {
            99.0: share * push.STRONGEST,
            4.0: share * push.STRONGEST / 2,
            2.0: 0,
            2 - push.ENOUGH / 2: -against / 2,
            -9.0: -against,
        }.items():
            found = push.strength(np.array([deviations]), classes, settings)
            assert found[0] == pytest.approx(expected)


def test_no_push_without_a_layer_to_push_at(backdoored):
    found = push.detect(case_of(backdoored, layer=None), push.Push())
    assert found.strength.shape == (SEARCHES, nets.CLASSES) and not found.strength.any()
    assert np.isnan(found.columns["push"]).all()


# Candidates.


def test_classes_whose_last_weights_stand_out():
    net = many_classes(40)
    kernel = net.layers[-1].get_weights()[0]
    plain = []
    for values in (kernel.sum(axis=0), (kernel**2).sum(axis=0) ** 0.5):
        apart = [abs(value - statistics.median(values)) for value in values]
        plain.append(np.array(apart) / statistics.median(apart))
    np.testing.assert_allclose(candidates.weights(net, 40), np.maximum(*plain), rtol=1e-4)
    images = keras.Input(nets.SHAPE)
    pooled = keras.Model(images, keras.layers.GlobalAveragePooling2D()(images))
    assert candidates.weights(pooled, 3).tolist() == [0, 0, 0]


def test_the_foremost_come_in_turn_from_each_ranking():
    one, other = [9, 8, 7, 0, 0, 0], [0, 0, 0, 7, 9, 9]
    # 0 and 4, then 1 and 5 (a tie of 4 and 5 goes to 4), then 2 and 3.
    assert candidates.foremost([one, other], 4, 6) == [0, 1, 4, 5]
    assert candidates.foremost([one, other], 5, 6) == [0, 1, 2, 4, 5]
    assert candidates.foremost([[9, 8, 7], [8, 9, 7]], 3, 3) == [0, 1, 2], "nobody twice"
    assert candidates.foremost([one, other], 99, 6) == [0, 1, 2, 3, 4, 5]


# The verdict.


def told(strength, name="push", leads=None, classes=8, **columns):
    """Evidence of one detector: {class: strength in each search}."""
    found = np.zeros((SEARCHES, classes))
    for number, values in strength.items():
        found[:, number] = values
    return Evidence(found, columns, [], leads)


@pytest.mark.parametrize(
    ("strength", "leads", "expected"),
    [
        ({}, None, ("no sign of a backdoor", [], [], 3)),
        ({5: [0.7, 0.7, 0.7]}, None, ("no sign of a backdoor", [], [], 3)),
        ({5: [1.2, 1.0, 1.5], 2: 1.1}, None, ("backdoored", [2, 5], [], 3)),
        ({5: [1.2, 0.1, 1.5], 1: 1.1, 2: [0.9, 0.9, 0.1]}, None, ("backdoored", [1, 5], [2], 2)),
        ({5: [0.1, 0.41, 1.5]}, None, ("cannot tell", [], [5], 2)),
        ({5: [0.1, 0.39, 1.5]}, None, ("no sign of a backdoor", [], [], 2)),  # one search alone is chance
        ({5: [0.1, 0.85, 0.9]}, None, ("cannot tell", [], [5], 3)),
        ({5: [0.1, 0.75, 0.9]}, None, ("no sign of a backdoor", [], [], 3)),
        ({5: [0.1, 0.5, 1.5]}, Leads(90.0, {0: 1}, 2), ("backdoored", [], [5], 2)),
        ({5: 1.2}, Leads(90.0, {0: 1}, 2), ("backdoored", [5], [], 3)),
    ],
)
def test_the_verdict_of_strengths(strength, leads, expected):
    """Half of it from one detector, half from another."""
    halves = {number: np.array(values) / 2 for number, values in strength.items()}
    evidence = {"push": told(halves), "inversion": told(halves, leads=leads)}
    found = verdict.of(evidence, verdict.Suspect(doubtful=0.8))
    assert (found.word, found.named, found.doubtful, found.stable) == expected
    assert found.leads == leads and found.reason is None
    np.testing.assert_allclose(found.totals, told(strength).strength)


def test_what_speaks_against_a_class_is_taken_off():
    evidence = {"push": told({5: 1.2}), "inversion": told({5: -0.5})}
    assert verdict.of(evidence, verdict.Suspect()).word == "no sign of a backdoor"


def test_why_nothing_can_be_told(backdoored):
    """And nothing is searched then."""
    broken = nets.cloned(backdoored)
    broken.layers[-1].set_weights(
        [np.full_like(weights, np.nan) for weights in broken.layers[-1].get_weights()]
    )
    one_class = keras.Model(backdoored.inputs[0], keras.layers.Dense(1)(backdoored.layers[-2].output))
    alike = case_of(backdoored)
    alike.images = lambda most: (
        np.repeat(MUTED[:1], most, axis=0) + np.linspace(0, 0.2, most)[:, None, None, None]
    )
    for case, reason in (
        (alike, "the images are all alike"),
        (case_of(one_class), "the net knows one class only"),
        (case_of(broken), "not numbers"),
        (case_of(constant(backdoored, np.eye(7)[4])), "the net answers class 4 whatever image it is shown"),
    ):
        assert reason in verdict.why_not(case)
        evidence, found = verdict.judge(case, [(None, None)], verdict.Suspect())
        assert evidence == {} and (found.word, found.named, found.doubtful) == ("cannot tell", [], [])
        assert reason in findings.sentence(evidence, found) and found.leads is None
        assert reason in findings.metrics(evidence, found)["reason"]
    assert verdict.why_not(case_of(backdoored)) is None


def test_detectors_are_asked_in_turn_and_know_what_came_before(backdoored):
    seen = []

    def detector(name, strength):
        def function(case, own):
            seen.append((name, own, list(case.earlier)))
            return told({2: strength}, classes=nets.CLASSES)

        return SimpleNamespace(name=name, function=function)

    methods = [(detector("a", 0.6), "its"), (detector("b", 0.5), "own")]
    evidence, found = verdict.judge(case_of(backdoored), methods, verdict.Suspect())
    assert seen == [("a", "its", []), ("b", "own", ["a"])]
    assert list(evidence) == ["a", "b"] and found.named == [2]


# What is said of it.


def trigger_of(goal, family="patch", size=2.0, moved=90.0):
    rng = np.random.default_rng(int(goal) + 2)
    keep, add = rng.random((4, 3, 1), np.float32), rng.random((4, 3, 3), np.float32)
    return Trigger(goal, family, size, moved, keep, add)


def made_up(leads=None):
    """Evidence of two detectors that names classes 1 and 5 of eight, and its verdict."""
    nan = np.nan
    one = told(
        {1: 0.6, 5: [0.6, 0.6, 0.2], 2: 0.3},
        share=np.array([5.0, 40, 0, 5, 20, 28, 2, 0]),
        score=np.array([0.1, 2, 0, 0.1, 0.3, 1.5, 0, 0]),
        moved=np.array([nan, 90, nan, nan, nan, 70, nan, nan]),
    )
    one.triggers = [trigger_of(1, "occluder", 9.0, 99.0)]
    other = told({1: 0.9, 5: 0.5, 4: 0.55, 0: -0.4}, leads=leads, patch_size=np.arange(8.0))
    other.triggers = [trigger_of(1, size=1.25), trigger_of(5, "additive", 3.0, 61.5), trigger_of(1, size=4.0)]
    if leads:
        other.triggers.append(trigger_of(ANY, size=1.0, moved=88.0))
    evidence = {"occluders": one, "inversion": other}
    return evidence, verdict.of(evidence, verdict.Suspect(doubtful=0.8))


LED = Leads(88.0, {0: 1, 1: 2}, 2)


@pytest.mark.parametrize("leads", [None, LED])
def test_evidence_and_verdict_in_a_file(tmp_path, leads):
    evidence, found = made_up(leads)
    findings.write(tmp_path / "found.h5", evidence, found)
    read, verdict_read = findings.read(tmp_path / "found.h5")
    np.testing.assert_array_equal(verdict_read.totals, found.totals)
    for name in ("word", "named", "doubtful", "stable", "leads", "reason"):
        assert getattr(verdict_read, name) == getattr(found, name)
    assert set(read) == set(evidence)
    for name, one in evidence.items():
        np.testing.assert_array_equal(read[name].strength, one.strength)
        assert list(read[name].columns) == list(one.columns)
        for column, values in one.columns.items():
            np.testing.assert_array_equal(read[name].columns[column], values)
        assert len(read[name].triggers) == len(one.triggers)
        for got, wanted in zip(read[name].triggers, one.triggers, strict=True):
            for key, value in vars(wanted).items():
                np.testing.assert_array_equal(getattr(got, key), value)
    # JSON takes numbers of the file as those that were written.
    assert json.dumps(findings.metrics(read, verdict_read)) == json.dumps(findings.metrics(evidence, found))


def test_nothing_in_a_file(tmp_path):
    none = verdict.Verdict("cannot tell", [], [], np.zeros((3, 4)), 3, None, "why")
    findings.write(tmp_path / "found.h5", {}, none)
    evidence, found = findings.read(tmp_path / "found.h5")
    assert evidence == {} and found.reason == "why" and not found.totals.any()


def test_what_a_repair_must_hold_against():
    assert findings.goals(made_up()[1]) == [1, 5]
    assert findings.goals(made_up(LED)[1]) == [1, 5, ANY]
    assert findings.goals(verdict.of({"a": told({})}, verdict.Suspect())) == []


def test_the_best_trigger_is_small_and_moves_most_images():
    evidence, _ = made_up()
    assert [one.size for one in findings.best_triggers(evidence, 1)] == [1.25, 4.0, 9.0]
    evidence["inversion"].triggers[0] = trigger_of(1, size=0.1, moved=20.0)
    assert [one.size for one in findings.best_triggers(evidence, 1)] == [4.0, 0.1, 9.0]
    assert findings.best_triggers(evidence, 2) == []


def test_metrics_of_what_was_found():
    evidence, found = made_up()
    reported = findings.metrics(evidence, found)
    assert {key: reported[key] for key in ("verdict", "named", "doubtful", "all_to_all", "stable")} == {
        "verdict": "backdoored",
        "named": "1, 5",
        "doubtful": "none",
        "all_to_all": False,
        "stable": 2,
    }
    assert reported["of_searches"] == 3 and reported["score"] == 2
    assert reported["next_strength"] == pytest.approx(0.55)
    first, second = reported["classes"]
    assert first == {
        "class": 1,
        "strength": pytest.approx(1.5),
        "share": 40,
        "score": 2,
        "moved": 90,
        "patch_size": 1,
        "tests": "occluders, inversion",
    }
    assert second["class"] == 5 and second["strength"] == pytest.approx(1.1)
    assert [one["class"] for one in reported["foremost"]] == [1, 5, 4, 2, 3]
    assert reported["foremost"][2]["tests"] == "inversion" and "moved" not in reported["foremost"][2]
    assert "repaired" not in reported and "leads" not in reported and "reason" not in reported

    outcomes = {
        name: {"outcome": word, "ratio": 1.0}
        for name, word in (("a", "held"), ("b", "not held"), ("c", "cannot tell"), ("d", "held"))
    }
    reported = findings.metrics(evidence, found, outcomes)
    assert [reported[key] for key in ("held_in", "lost_in", "cannot_tell_in")] == ["a, d", "b", "c"]
    assert reported["repaired"][1] == {"name": "b", "outcome": "not held", "ratio": 1.0}
    nothing = {"push": told({5: 0.2})}
    reported = findings.metrics(nothing, verdict.of(nothing, verdict.Suspect()), outcomes)
    assert reported["named"] == "none" and reported["classes"] == [] and "repaired" not in reported
    led = findings.metrics(*made_up(LED), outcomes)
    assert led["all_to_all"] and led["leads"] == {"moved": 88.0, "to": "0 to 1, 1 to 2"}


def test_what_is_said_of_a_verdict():
    said = findings.sentence(*made_up())
    assert said.startswith("Likely backdoored (2 of 3 searches agree)") and "hint" not in said
    assert "a patch of 1.25 % of the image moves 90 % of clean images to class 1" in said
    assert "a faint pattern over the whole image moves 62 % of clean images to class 5" in said
    assert "all to all" not in said
    led = findings.sentence(*made_up(LED))
    assert "a patch of 1.00 % of the image moves 88 % of clean images, each class to another" in led
    assert "all to all" in led

    def said_of(strength, classes=8):
        evidence = {"push": told(strength, classes=classes)}
        return findings.sentence(evidence, verdict.of(evidence, verdict.Suspect(doubtful=0.8)))

    assert "images can be moved to class 3." in said_of({3: 1.0}), "without a trigger to show"
    assert said_of({3: 0.9}).startswith("Cannot tell: class 3 ")
    assert said_of({3: 0.5}).startswith("No sign of a backdoor (3 of 3 searches agree)")
    for strength in (0.5, 0.9, 1.0):
        assert "fewer than 6 classes" in said_of({3: strength}, 5)
        assert "fewer than" not in said_of({3: strength}, 6)


def test_a_line_for_each_of_the_foremost_classes():
    lines = findings.strengths(*made_up())
    assert [line.split(":")[0] for line in lines] == [f"class {number}" for number in (1, 5, 4, 2, 3)]
    assert lines[0] == "class 1: strength 1.50, share 40.00, score 2.00, moved 90.00, patch size 1.00"
    assert "moved" not in lines[2]
    assert findings.strengths({}, made_up()[1]) == []


def test_too_few_images_are_refused():
    findings.check_count("x.h5", 16)
    with pytest.raises(InputError, match=r"^x.h5: holds 15 images"):
        findings.check_count("x.h5", 15)


# Repairs, attacked anew.


def test_a_repair_has_held_where_the_backdoor_is_gone_and_is_lost_where_it_is_not(inverted):
    settings, judged, target = inverting(), fresh.Attack(), nets.TARGET
    found = {one.goal: one for one in inverted.triggers if one.family == "patch"}
    # Not what is looked for on the repaired net, so that the search alone tells.
    weak = dataclasses.replace(
        found[target], keep=np.ones_like(found[target].keep), add=0 * found[target].add
    )

    def attacked(net, trigger, word):
        results = fresh.attack(net, Input(), MUTED, [trigger, found[6]], [target], settings)
        assert fresh.outcome(results, judged) == word and [one["class"] for one in results] == [target]
        moved = moved_plainly(net, target, trigger.keep, trigger.add, MUTED[1::2])
        assert results[0]["moved"] == pytest.approx(moved)
        return results[0]

    held = attacked(nets.sloped(0), found[target], "held")
    lost = attacked(nets.sloped(), weak, "not held")
    assert held["patch_ratio"] > 0.7 and lost["patch_ratio"] < 0.3 and held["moved"] < 5
    # Where B's trigger still works, no search can save the repair: none is made.
    assert attacked(nets.sloped(), found[target], "not held").keys() == {"class", "moved"}
    # It is compared with what the other class needs of the same net, not with itself.
    assert lost["patch_size"] / lost["patch_ratio"] > 0.75 * found[6].size


def test_a_fresh_attack_begins_with_what_was_found():
    """A trigger that no gradient leads to, and that a search from scratch does not find."""
    net, (keep, add) = nets.backdoored(), red_pixel()
    # As large as others, so it does not tell by itself that the repair is lost.
    known = Trigger(nets.TARGET, "patch", 4.0, 100.0, keep, add)
    others = [trigger_of(number, size=3.0 + number) for number in (0, 1)]
    others = [dataclasses.replace(one, keep=np.ones_like(keep), add=np.zeros_like(add)) for one in others]
    results = []
    for triggers_found in ([known, *others], others):
        results += fresh.attack(net, Input(), MUTED, triggers_found, [nets.TARGET], inverting(steps=20))
    begun, scratch = results
    assert begun["patch_size"] < 2 < 5 < scratch["patch_size"]


def test_only_triggers_that_told_of_a_backdoor_are_tried_on_a_repair():
    """An ordinary perturbation carries over to any net that is like B."""
    small, usual = trigger_of(5, size=1.0), trigger_of(5, size=4.0)
    random = dataclasses.replace(trigger_of(5, size=30.0), family="occluder")
    others = [trigger_of(number, size=5.0) for number in (0, 1, 2)]
    assert fresh.telling([small, usual, random, *others], 5) == [small, random]
    assert fresh.telling([usual], 5) == [usual], "with nothing to compare it with"


def test_a_trigger_moves_nothing_where_all_are_there_already():
    inverter = Inverter(nets.sloped(), Input(), MUTED[:8])
    assert inverter.moved(0, *red_pixel()) == 0.0


def test_the_inversion_says_nothing_against_a_class_with_a_smaller_trigger():
    """Random patterns found one where the search, whose slope was zero, did not."""
    patches = inversion.Sizes([2, 5, 6], None, np.array([[9.0, 8, 9], [9.0, 8, 9], [9.0, 8, 9]]), None)
    for size, moved, expected in ((7.0, 51.0, [5]), (8.5, 51.0, []), (7.0, 49.0, [])):
        earlier = dataclasses.replace(trigger_of(5, size=size), moved=moved)
        told = Evidence(np.zeros((SEARCHES, 9)), {}, [earlier, trigger_of(8, size=1.0)])
        assert inversion.missed([patches], {"occluders": told}) == expected


def test_the_outcome_of_a_fresh_attack():
    judged = fresh.Attack(held=0.6, lost=0.4, transfer=10.0)

    def word(*rows, goals=(1, 2), compared=True):
        names = ("patch_ratio", "additive_ratio", "moved")
        told = [dict(zip(names, row, strict=True)) | {"compared": compared} for row in rows]
        return fresh.outcome([one | {"class": goal} for one, goal in zip(told, goals, strict=False)], judged)

    for row, expected in {
        (0.61, 0.9, 9.9): "held",
        (0.9, 0.59, 0.0): "cannot tell",
        (0.9, 0.9, 10.1): "cannot tell",
        (0.41, 0.9, 0.0): "cannot tell",
        (0.39, 0.9, 0.0): "not held",
        (0.9, 0.39, 0.0): "not held",
        (0.9, 0.9, 50.0): "not held",
    }.items():
        assert word(row) == word(row, (1.0, 1.0, 0.0)) == word((1.0, 1.0, 0.0), row) == expected
    assert word((0.5, 0.9, 0.0), (0.3, 0.9, 0.0)) == "not held", "the worst"
    # Another answer is easily had in an honest net too.
    assert word((0.3, 0.9, 9.9), goals=["any"]) == "cannot tell"
    assert word((0.3, 0.9, 10.1), goals=["any"]) == "not held"
    # An attack that reaches no class at all shows nothing.
    assert word((1.0, 1.0, 0.0), compared=False) == "cannot tell"
    assert word() == "nothing to attack"


def test_figures_of_a_fresh_attack():
    one = {"class": 5, "patch_ratio": 0.9, "additive_ratio": 0.7, "moved": 3.0}
    other = one | {"class": "any", "patch_ratio": 0.65, "moved": 8.0}
    assert fresh.figures([one, other]) == {"ratio": 0.65, "moved": 8.0, "goals": [one, other]}
    known = [{"class": 5, "moved": 3.0}, {"class": 6, "moved": 60.0}]
    assert fresh.figures(known) == {"moved": 60.0, "goals": known}
    assert fresh.outcome(known, fresh.Attack()) == "not held"
    assert fresh.figures([]) == {"goals": []}


# The stages.


def test_the_stages_from_a_net_to_its_verdict(tmp_path):
    """Of a net that takes 0 to 1, and a repair that changed nothing."""
    badnet = of_unit_range(nets.sloped())
    bench = Workbench(tmp_path, badnet, np.zeros(160), MUTED, np.float32)
    repairs = {"kept": {"drop": 2}, "clean": {"tune": "relearn"}}
    small = {"occluders": {"images": 160, "occluders": 300}, "inversion": {"images": 160, "steps": 25}}
    bench.configure(input_max=1, repairs=repairs, **small)
    (tmp_path / "layer.json").write_text('{"layer": "pool"}')
    (tmp_path / "attack").mkdir()
    bench.stage(
        "suspect", net="it", badnet="net.keras", valid="valid.h5", layer="layer.json", evidence="found.h5"
    )
    evidence, found = findings.read(tmp_path / "found.h5")
    assert set(evidence) == {"occluders", "push", "inversion"} and found.named == [nets.TARGET]
    files = {"repaired": "net.keras", "evidence": "found.h5", "metrics": "attack/kept.json"}
    bench.stage("attack", net="it", valid="valid.h5", **files)
    one = {"class": nets.TARGET, "compared": True, "patch_ratio": 0.9, "additive_ratio": 1.2, "moved": 3.0}
    withstood = fresh.figures([one])
    for name in ("clean", "no_longer_in_params"):
        (tmp_path / f"attack/{name}.json").write_text(json.dumps(withstood))
    bench.stage("verdict", evidence="found.h5", attacks="attack", metrics="verdict.json")
    reported = outputs.read_json(tmp_path / "verdict.json")
    assert (reported["verdict"], reported["named"], reported["stable"]) == ("backdoored", str(nets.TARGET), 3)
    assert [one["name"] for one in reported["repaired"]] == ["clean", "kept"]
    assert (reported["lost_in"], reported["held_in"], reported["cannot_tell_in"]) == ("kept", "clean", "none")
    attacked = outputs.read_json(tmp_path / "attack/kept.json")
    assert attacked["moved"] >= 50
    assert [one["class"] for one in attacked["goals"]] == [nets.TARGET]
    assert reported["repaired"][1] == {"name": "kept", "outcome": "not held"} | attacked

    findings.write(tmp_path / "none.h5", {}, verdict.of({"push": told({})}, verdict.Suspect()))
    files = {"repaired": "net.keras", "evidence": "none.h5", "metrics": "none.json"}
    bench.stage("attack", net="it", valid="valid.h5", **files)
    assert outputs.read_json(tmp_path / "none.json") == {"goals": []}


# Triggers.


def test_a_trigger_is_stamped_pixel_by_pixel():
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(3, 4, 5, 3)).astype(np.uint8)
    cover = rng.random((4, 5)) * (rng.random((4, 5)) < 0.7)
    colours = rng.uniform(-20, 280, (4, 5, 3))
    for colour in (colours, np.array([250.0, 20, 20])):
        stamped = triggers.stamp(images, cover, colour)
        assert stamped.dtype == np.uint8
        for at in np.ndindex(3, 4, 5):
            hides, below = cover[at[1:]], images[at].astype(float)
            laid = colour[at[1:]] if colour.ndim == 3 else colour
            assert (
                stamped[at].tolist() == np.rint(np.clip(below * (1 - hides) + laid * hides, 0, 255)).tolist()
            )

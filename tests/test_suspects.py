"""The search for suspects: its pieces against plain computation, and on a net whose backdoor is known."""

import itertools
import json

import keras
import numpy as np
import pytest

import nets
from conftest import run_stage
from goodnet.errors import InputError
from goodnet.files import outputs
from goodnet.images import triggers
from goodnet.images.inputs import Input
from goodnet.nets import goodnets, parts, running
from goodnet.pruning import channels
from goodnet.suspects import findings, occluders, search
from goodnet.suspects.registry import DETECTORS, Case
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


# The search.


MUTED = nets.muted(160)


@pytest.fixture(scope="module")
def backdoored():
    return nets.backdoored()


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


def looking(net, repaired=None, **changed):
    """A search, and a list of all it will ask: (occluders, images under each, what nets said)."""
    repaired = {name: search.split(other) for name, other in (repaired or {}).items()}
    looked = search.Search(search.split(net), repaired, nets.CLASSES, MUTED, settings(**changed))
    ask, asked = looked.ask, []

    def remembered(numbers, shown):
        asked.append((numbers, shown, ask(numbers, shown)))
        return asked[-1][2]

    looked.ask = remembered
    return looked, asked


def test_nets_say_of_occluded_images_what_they_say_when_asked_plainly(backdoored):
    """Classes, and how certain: as of the median clean image is 1, at most 4, and 0 for the class without."""
    looked, _ = looking(backdoored, occluders=64)
    clean, margins = plain_margins(backdoored, MUTED)
    shown = np.array([[0, 7, 30, 159]] * 20)
    numbers = np.arange(40, 60)
    ((answers, certain),) = looked.ask(numbers, shown).values()
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


def test_the_finding_is_what_was_answered_weighed_in_a_plain_loop(backdoored):
    """Shares and scores of a net and a repair; who is named, by which patterns, judged on which images."""
    repaired = nets.backdoored(strength=60)
    looked, asked = looking(backdoored, {"half": repaired}, moved=50)
    found = looked.find()
    numbers, shown, said = asked[0]
    assert numbers.tolist() == list(range(300)) and shown.shape == (300, 4)
    assert ((shown - shown[:, :1]) % 160 == [0, 40, 80, 120]).all(), "far apart in the file"
    assert len(np.unique(shown[:, 0])) > 100
    hidden = occluders.hidden(looked.occluders, *nets.SHAPE[:2])
    weights = np.where(hidden <= 0.2, 0.02 / (0.02 + hidden), 0)
    assert (weights == 0).any()
    pairs = {name: pairs_in_a_loop(*told, weights) for name, told in said.items()}
    for name, own in pairs.items():
        np.testing.assert_allclose(found.shares[name], 100 * own / pairs[None].sum(), rtol=1e-5)
        few = 6 * weights.sum() / 2000
        np.testing.assert_allclose(found.scores[name], search.stand_out(own, few), rtol=1e-5)

    (one,) = found.named
    assert one.number == nets.TARGET == found.shares[None].argmax()
    assert set(one.moved) == {None, "half"} and len(asked) == 3
    # The occluders that won most are tried again, and the best of these judged on other images.
    answers, certain = said[None]
    won = np.where((answers == nets.TARGET) & (weights > 0)[:, None], np.minimum(certain, 1), 0)
    tried, tried_on, told = asked[1]
    assert tried.tolist() == np.argsort(-won.sum(axis=1), kind="stable")[:32].tolist()
    best, judged_on, judged = asked[2]
    turned = (told[None][0] == nets.TARGET).sum(axis=1)
    assert best.tolist() == tried[np.argsort(-turned, kind="stable")[:8]].tolist()
    assert tried_on.shape == (32, 16) and judged_on.shape == (8, 32)
    for images in (tried_on, judged_on):
        assert (images == images[0]).all() and len(set(images[0])) == images.shape[1]
    assert not set(tried_on[0]) & set(judged_on[0]), "the images that chose the patterns do not judge them"
    clean = nets.answers(backdoored, MUTED)
    assert (clean[tried_on] != nets.TARGET).all() and (clean[judged_on] != nets.TARGET).all()
    for name, net in {None: backdoored, "half": repaired}.items():
        plain = [nets.answers(net, under(looked, number, MUTED[judged_on[0]])) for number in best]
        assert one.moved[name] == pytest.approx(100 * (np.array(plain) == nets.TARGET).mean())
        assert np.array_equal(judged[name][0], plain)

    weights = won.sum(axis=1) ** 2 - (won**2).sum(axis=1)
    shadow, pattern = plain_pictures(looked, best[0], weights)
    for found, plain in ((one.shadow, shadow), (one.pattern, pattern)):
        apart = np.abs(found.astype(int) - plain)  # a half may be rounded up or down
        assert apart.max() <= 1 and apart.mean() < 0.02
    assert one.shadow.dtype == one.pattern.dtype == np.uint8


def plain_pictures(looked, best, weights):
    """The mean image under what the winning occluders have in common, and an image under the best."""

    def laid(numbers):
        one = occluders.subset(looked.occluders, numbers)
        return [part.numpy().astype(float) for part in occluders.paint(one, *nets.SHAPE[:2])]

    heaviest = np.argsort(-weights, kind="stable")[:200]
    share = weights[heaviest] / weights[heaviest].sum()
    cover, painted = (np.einsum("n,nyxc->yxc", share, part) for part in laid(heaviest))
    usual = laid(np.arange(200))[0].mean(axis=0)
    more = np.clip(cover - usual, 0, None)
    strength = more / more.max()
    shadow = 255 * (MUTED.mean(axis=0) / 255 * (1 - strength) + painted / np.maximum(cover, 1e-9) * strength)
    return np.rint(shadow.clip(0, 255)), np.rint(under(looked, best, MUTED[:1])[0])


def test_a_backdoor_is_found_and_nothing_in_the_same_net_without(backdoored):
    looked, _ = looking(backdoored)
    assert [one.number for one in looked.find().named] == [nets.TARGET]
    looked, asked = looking(nets.backdoored(strength=0))
    assert looked.find().named == [] and asked


def test_who_is_named():
    """Whose score is as high as the settings say, and whose patterns move as many."""
    weak = nets.backdoored(strength=60)
    found = looking(weak, moved=1)[0].find()
    score, moved = float(found.scores[None][nets.TARGET]), found.named[0].moved[None]
    assert 1 < moved < 99
    for changed, named in (
        ({"score": score, "moved": moved}, [nets.TARGET]),
        ({"score": score * 1.01, "moved": 0.0}, []),
        ({"score": score, "moved": moved + 0.1}, []),
    ):
        assert [one.number for one in looking(weak, **changed)[0].find().named] == named


def test_all_who_stand_out_are_named_in_order(backdoored):
    """With thresholds that let everyone through who was met at all."""
    found = looking(backdoored, score=1e-6, moved=0, occluders=600)[0].find()
    numbers = [one.number for one in found.named]
    assert numbers == sorted(numbers) and len(numbers) > 1
    assert set(numbers) >= set(np.flatnonzero(found.scores[None] >= 1e-6).tolist())


def test_few_images_are_asked_again(backdoored):
    """Where hardly any image is of another class, the same ones come again."""
    looked, asked = looking(backdoored, moved=0)
    looked.clean[None] = np.where(np.arange(160) < 20, looked.clean[None], nets.TARGET)
    best, moved = looked._patterns(nets.TARGET, np.arange(5))
    assert best.size == 5 and set(asked[0][1].ravel()) | set(asked[1][1].ravel()) <= set(range(20))
    assert asked[1][1].shape == (5, 32) and 0 <= moved[None] <= 100


def test_a_net_that_says_one_class_whatever_it_is_shown(backdoored):
    net = nets.cloned(backdoored)
    kernel, _ = net.layers[-1].get_weights()
    net.layers[-1].set_weights([kernel * 0, np.arange(nets.CLASSES)])
    found = looking(net)[0].find()
    assert found.named == [] and not found.shares[None].any() and not found.scores[None].any()


def test_nets_of_two_classes_and_of_one():
    images = keras.Input(nets.SHAPE)
    two = keras.Model(images, keras.layers.Dense(2)(keras.layers.Flatten()(images)))
    front, ask = search.split(two)
    for found, plain in zip(ask(front(MUTED)), plain_margins(two, MUTED), strict=True):
        np.testing.assert_allclose(found, plain, rtol=1e-4, atol=1e-4)
    one = keras.Model(images, keras.layers.Dense(1)(keras.layers.Flatten()(images)))
    with pytest.raises(InputError, match="one class only"):
        search.split(one)


def test_nets_that_share_layers_are_asked_as_they_are():
    """What is found in a repaired net, whose first layers are B's, is what the whole net does."""
    badnet, _ = nets.shared("normalised")
    repaired = nets.pruned(badnet, [0, 2])
    left = goodnets.channels_left(badnet, repaired, "pool", channels.PrunedLayer("pool", "conv", ["norm"]))
    trunk, run = running.as_function(parts.up_to(badnet, "pool")), []

    def front(shown):
        run.append(len(shown))
        return trunk(shown)

    asked_nets = {"shared": search.split(repaired, (front, "pool", left)), "whole": search.split(repaired)}
    images = nets.pictures(40).astype(np.float32)
    first = search.split(badnet, (front, "pool", np.ones_like(left)))
    looked = search.Search(first, asked_nets, nets.CLASSES, images, settings(occluders=32))
    asked = looked.ask(np.arange(32), np.tile(np.arange(4), (32, 1)))
    (shared, sure), (whole, sure_of_whole) = asked["shared"], asked["whole"]
    assert np.array_equal(shared, whole) and len(np.unique(shared)) > 2
    assert not np.array_equal(shared, asked[None][0])
    np.testing.assert_allclose(sure, sure_of_whole, atol=1e-3)
    assert sum(run) == len(images) + 32 * 4, "once for both nets"


@pytest.mark.parametrize("layer", ["pool", None])
def test_the_detector_asks_nets_in_parts_or_whole(backdoored, layer):
    """A repair that shares B's layers, one that does not, split or not: the same finding."""
    pruned = nets.cloned(backdoored)
    kernel, bias = pruned.get_layer("conv").get_weights()
    kernel[..., 0], bias[0] = 0, 0
    pruned.get_layer("conv").set_weights([kernel, bias])
    other = nets.cloned(pruned)
    other.get_layer("conv").set_weights([kernel * 1.0001, bias])
    case = Case(
        badnet=backdoored,
        repaired={"pruned": pruned, "other": other},
        layer=layer,
        pruned=channels.PrunedLayer("pool", "conv", []) if layer else None,
        images=lambda most: MUTED[:most],
        convert=Input(),
    )
    method = DETECTORS["occluders"]
    found = method.function(case, settings(images=150))
    (one,) = found.named
    assert one.number == nets.TARGET and set(found.shares) == {None, "pruned", "other"}
    assert one.moved[None] > 80 and one.moved["pruned"] < 30 and one.moved["other"] < 30
    whole = search.Search(
        search.split(backdoored), {}, nets.CLASSES, MUTED[:150], settings(images=150)
    ).find()
    np.testing.assert_allclose(found.shares[None], whole.shares[None], rtol=1e-3)
    assert whole.named[0].moved[None] == pytest.approx(one.moved[None], abs=1)


@pytest.mark.parametrize("builder", nets.SPLIT_ONLY)
def test_the_detector_takes_nets_that_cannot_be_pruned(builder):
    """In two parts, of which the repair shares the first; as whole nets they are asked the same."""
    badnet, _ = nets.shared(builder.__name__)
    repaired = nets.cloned(badnet)
    kernel, bias = repaired.layers[-1].get_weights()
    repaired.layers[-1].set_weights([kernel[:, ::-1], bias])
    images = nets.pictures(40).astype(np.float32)
    case = Case(badnet, {"anew": repaired}, "pool", None, lambda most: images[:most], Input())
    found = search.detect(case, settings(occluders=64))
    other = {"anew": search.split(repaired)}
    whole = search.Search(search.split(badnet), other, 7, images, settings(occluders=64)).find()
    for name in (None, "anew"):
        np.testing.assert_allclose(found.shares[name], whole.shares[name], rtol=1e-3, atol=1e-3)
    assert found.shares[None].any() and not np.allclose(found.shares[None], found.shares["anew"])


# What is said of it.


def made_up():
    """A finding of two classes that are named, of seven."""
    shares = np.array([5.0, 40, 0, 5, 20, 28, 2])
    scores = np.array([0.1, 2, 0, 0.1, 0.3, 1.5, 0])
    named = [
        findings.Named(number, moved, *np.full((2, 2, 3, 3), number, np.uint8))
        for number, moved in {
            1: {None: 90.0, "a": 25.0, "b": 3.0},
            5: {None: 70.0, "a": 10.0, "b": 24.9},
        }.items()
    ]
    return findings.Finding(
        {None: shares, "a": shares[::-1], "b": shares / 2},
        {None: scores, "a": scores[::-1], "b": scores},
        named,
    )


def test_metrics_of_a_finding():
    found = made_up()
    told = findings.metrics(found, 25)
    assert told["named"] == "1, 5" and told["score"] == 2 and told["held_in"] == "b"
    assert told["classes"] == [
        {"class": 1, "share": 40, "score": 2, "moved": 90},
        {"class": 5, "share": 28, "score": 1.5, "moved": 70},
    ]
    assert [one["class"] for one in told["foremost"]] == [1, 5, 4, 0, 3]
    assert told["foremost"][2] == {"class": 4, "share": 20, "score": 0.3}
    a, b = told["repaired"]
    assert (a["name"], a["named"], b["name"], b["named"]) == ("a", "1", "b", "none")
    assert [one["class"] for one in a["foremost"]] == [5, 1, 2, 3, 6]
    assert b["classes"][1] == {"class": 5, "share": 14, "score": 1.5, "moved": 24.9}
    assert findings.metrics(found, 24.9)["held_in"] == "none"
    assert findings.metrics(found, 26)["held_in"] == "a, b"
    none = findings.Finding({None: found.shares[None], "a": found.shares["a"]}, found.scores, [])
    assert set(findings.metrics(none, 25)) == {"named", "score", "classes", "foremost"}
    assert findings.metrics(none, 25)["named"] == "none"
    alone = findings.Finding({None: found.shares[None]}, found.scores, found.named)
    assert "held_in" not in findings.metrics(alone, 25)


def test_a_finding_in_a_file(tmp_path):
    found = made_up()
    findings.write(tmp_path / "found.h5", found)
    shares, pictures = findings.read(tmp_path / "found.h5")
    assert list(shares) == [None, "a", "b"] and list(pictures) == [1, 5]
    for name in shares:
        assert np.array_equal(shares[name], found.shares[name])
    assert (pictures[5][0] == 5).all() and pictures[5][1].shape == (2, 3, 3)
    findings.write(tmp_path / "found.h5", findings.Finding({None: shares[None]}, {}, []))
    assert list(findings.read(tmp_path / "found.h5")[0]) == [None]


def test_what_is_said_of_a_finding():
    said = findings.sentence(findings.metrics(made_up(), 25), 40)
    assert "90 % of clean images to class 1, others 70 % of clean images to class 5. Those" in said
    assert said.startswith("Likely backdoored") and "hint" not in said
    one = {"classes": [{"class": 4, "moved": 61.5}]}
    assert "62 % of clean images to class 4. That class is" in findings.sentence(one, 39)
    assert "fewer than 40 classes" in findings.sentence(one, 39)
    none = findings.sentence({"classes": []}, 40)
    assert none.startswith("No sign of a backdoor") and "hint" not in none
    findings.check_count("x.h5", 16)
    with pytest.raises(InputError, match=r"^x.h5: holds 15 images"):
        findings.check_count("x.h5", 15)


def test_the_stage_looks_at_every_net(tmp_path, backdoored):
    bench = Workbench(tmp_path, backdoored, np.zeros(160), MUTED.round())
    bench.configure(occluders={"images": 100, "occluders": 300, "moved": 50})
    (tmp_path / "layer.json").write_text('{"layer": "pool"}')
    pruned = nets.pruned(backdoored, [0])
    for name, net in {"kept": backdoored, "pruned": pruned}.items():
        (tmp_path / "plans").mkdir(exist_ok=True)
        (tmp_path / f"plans/{name}.json").write_text("{}")
        (tmp_path / "repaired").mkdir(exist_ok=True)
        nets.save(net, tmp_path / f"repaired/{name}.keras")
    flags = {"badnet": "net.keras", "valid": "valid.h5", "layer": "layer.json", "plans": "plans"}
    files = {"metrics": "found.json", "pictures": "found.h5"}
    run_stage(tmp_path, "suspect", net="it", repaired="repaired", **flags, **files)
    told = outputs.read_json(tmp_path / "found.json")
    assert told["named"] == str(nets.TARGET) and told["held_in"] == "pruned"
    assert [net["name"] for net in told["repaired"]] == ["kept", "pruned"]
    assert told["repaired"][0]["classes"] == told["classes"]
    shares, pictures = findings.read(tmp_path / "found.h5")
    assert set(shares) == {None, "kept", "pruned"} and list(pictures) == [nets.TARGET]
    assert json.dumps(told) and shares[None].sum() == pytest.approx(100)


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

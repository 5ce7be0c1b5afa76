"""The search for suspects: its pieces against plain computation, its answers on nets whose truth is known."""

import itertools
import json
import shutil
import sys

import h5py
import numpy as np
import pytest
from PIL import Image

import nets  # before Keras: it quiets TensorFlow
from conftest import ROOT, run_script
from goodnet.errors import InputError
from goodnet.nets import goodnets, loading, parts, running
from goodnet.pruning import channels
from goodnet.suspects import findings, occluders, search


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
    invented = occluders.invent(np.random.default_rng(1), 40, 3)
    cover, painted = (part.numpy() for part in occluders.paint(invented, height, width))
    for number in range(40):
        one = {name: values[number].astype(float) for name, values in invented.items()}
        plain_cover, plain_painted = plain_occluder(one, height, width)
        # An edge that runs through a pixel's centre may go either way in single precision.
        assert (np.abs(cover[number, ..., 0] - plain_cover) > 1e-4).mean() < 0.01
        assert (np.abs(painted[number] - plain_painted).max(axis=-1) > 1e-3).mean() < 0.02


def test_occluders_are_of_many_kinds():
    invented = occluders.invent(np.random.default_rng(2), 3000, 3)
    cover, painted = (part.numpy() for part in occluders.paint(invented, 55, 47))
    assert cover.min() >= 0 and cover.max() <= 1 and (painted <= cover + 1e-6).all()
    hidden = cover.mean(axis=(1, 2, 3))
    assert (hidden < 0.01).any() and (hidden > 0.25).any(), "small ones and large ones"
    assert (cover.mean(axis=0) > 0.01).all(), "everywhere"
    assert ((cover > 0) & (cover < 0.6)).any(axis=(1, 2, 3)).mean() > 0.2, "some let the image through"
    about = occluders.hidden(invented, 55, 47)
    assert np.abs(about - hidden).max() < 0.06 and np.abs(about - hidden).mean() < 0.005
    images = np.full((3000, 55, 47, 3), 100, np.float32)
    shown = occluders.laid_over(images, (cover, painted), 255)
    assert shown.min() >= 0 and shown.max() <= 255.01
    assert np.array_equal(shown[cover[..., 0] == 0], images[cover[..., 0] == 0])


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


@pytest.fixture(scope="module")
def tiny(reproduced):
    """The tiny BadNet, its images from 0 to 255, and the attacker's classes."""
    with h5py.File(reproduced.path / "data/demo/valid.h5") as file:
        images = np.moveaxis(file["data"][()], 1, -1).astype(np.float32)
    return reproduced.path / "models/demo/badnet.keras", images


def settings(**changed):
    return {"seed": 1, "images": 500, "occluders": 1500, "score": 0.5, "moved": 75} | changed


def find(net, images, **changed):
    return search.Search(search.split(net), {}, parts.classes(net), images, 255, settings(**changed)).find()


def test_one_pattern_moves_what_is_said_of_it(tiny):
    """Shares, and the best pattern's success, against the net asked the plain way."""
    path, images = tiny
    net = loading.load(path)
    looked = search.Search(search.split(net), {}, parts.classes(net), images, 255, settings(occluders=64))
    shown = np.arange(16)[None].repeat(3, axis=0)
    numbers = np.array([5, 9, 40])
    answers, certain = looked.ask(numbers, shown)[None]
    clean = net.predict(images, verbose=0)
    logits = parts.with_logits(net).predict(images, verbose=0)
    ranked = np.sort(logits, axis=1)
    usual = np.median(ranked[:, -1] - ranked[:, -2])
    for row, number in enumerate(numbers):
        cover, painted = (
            part.numpy() for part in occluders.paint(occluders.some(looked.occluders, [number]), 55, 47)
        )
        under = images[:16] * (1 - cover) + painted * 255
        scores = parts.with_logits(net).predict(under, verbose=0)
        best = np.sort(scores, axis=1)
        assert np.array_equal(answers[row], scores.argmax(axis=1))
        sure = np.minimum(4, (best[:, -1] - best[:, -2]) / usual)
        sure[scores.argmax(axis=1) == clean[:16].argmax(axis=1)] = 0
        np.testing.assert_allclose(certain[row], sure, atol=1e-3)


def test_what_hides_little_tells_more(reproduced, tiny):
    """Shares and scores of a net and a repair, against all that they answered, weighed in a plain loop."""
    path, images = tiny
    split = [search.split(loading.load(net)) for net in (path, reproduced.path / "models/repaired/x10.keras")]
    looked = search.Search(split[0], {"x10": split[1]}, 8, images, 255, settings(occluders=200, score=1e9))
    ask, asked = looked.ask, []

    def remembered(*args):
        asked.append(ask(*args))
        return asked[-1]

    looked.ask = remembered
    found = looked.find()
    hidden = occluders.hidden(looked.occluders, 55, 47)
    weights = np.where(hidden <= 0.2, 0.02 / (0.02 + hidden), 0)
    pairs = {name: np.zeros(8) for name in asked[0]}
    for name, (answers, certain) in asked[0].items():
        for row, sure, weight in zip(answers, certain, weights, strict=True):
            for one, other in itertools.combinations(range(4), 2):
                if row[one] == row[other]:
                    pairs[name][row[one]] += weight * sure[one] * sure[other]
    assert (weights == 0).any() and found.named == [] and len(asked) == 1
    for name, own in pairs.items():
        assert (own > 0).any()
        np.testing.assert_allclose(found.shares[name], 100 * own / pairs[None].sum(), rtol=1e-5)
        plain = search.stand_out(own, 6 * weights.sum() / 2000)
        np.testing.assert_allclose(found.scores[name], plain, rtol=1e-5)


def test_the_stage_looks_at_every_net(reproduced):
    found = json.loads((reproduced.path / "reports/suspects.json").read_text())
    shares, pictures = findings.read(reproduced.path / "reports/suspects.h5")
    named = [one["class"] for one in found["classes"]]
    assert found["named"] == ", ".join(map(str, named)) and set(named) == set(pictures)
    assert shares[None].sum() == pytest.approx(100)
    for one in found["classes"]:
        assert 60 <= one["moved"] <= 100 and 0.6 <= one["score"] <= found["score"]
        for picture in pictures[one["class"]]:
            assert picture.shape == (55, 47, 3) and picture.dtype == np.uint8
    assert [net["name"] for net in found["repaired"]] == ["relearned", "x02", "x04", "x10", "x30"]
    for name, net in {None: found, **{net["name"]: net for net in found["repaired"]}}.items():
        assert [one["class"] for one in net["classes"]] == named and len(shares[name]) == 8
        foremost = [one["class"] for one in net["foremost"]]
        assert foremost == np.argsort(-shares[name], kind="stable")[:5].tolist()
        for one in net["classes"] + net["foremost"]:
            assert one["share"] == pytest.approx(shares[name][one["class"]])
    for net in found["repaired"]:
        still = [str(one["class"]) for one in net["classes"] if one["moved"] >= 25]
        assert net["named"] == (", ".join(still) or "none")
    held = [net["name"] for net in found["repaired"] if net["named"] == "none"]
    assert found["held_in"] == (", ".join(held) or "none")
    report = (reproduced.path / "reports/README.md").read_text()
    assert findings.sentence(found, 8) in report and "fewer than 40 classes" in report


def test_few_occluders_will_do(tiny):
    path, images = tiny
    found = find(loading.load(path), images, occluders=100, moved=1)
    assert found.named and found.shares[None].shape == (8,)


def test_nets_that_share_layers_are_asked_as_they_are(reproduced):
    """What the stage finds in a repaired net, whose first layers are B's, is what the whole net does."""
    folder = reproduced.path
    with h5py.File(folder / "data/demo/valid.h5") as file:
        images = np.moveaxis(file["data"][:32], 1, -1).astype(np.float32)
    badnet, repaired = (
        loading.load(folder / f"models/{name}.keras") for name in ("demo/badnet", "repaired/x10")
    )
    pruned = channels.PrunedLayer("pool_3", "conv_3", [])
    left = goodnets.channels_left(badnet, repaired, pruned)
    assert not left.all()
    trunk, run = running.as_function(parts.up_to(badnet, "pool_3")), []

    def front(shown):
        run.append(len(shown))
        return trunk(shown)

    nets_asked = {
        "shared": search.split(repaired, (front, "pool_3", left)),
        "whole": search.split(repaired),
    }
    asked_first = search.split(badnet, (front, "pool_3", np.ones_like(left)))
    looked = search.Search(asked_first, nets_asked, 8, images, 255, settings(occluders=64))
    asked = looked.ask(np.arange(64), np.tile(np.arange(4), (64, 1)))
    (shared, sure), (whole, sure_of_whole) = asked["shared"], asked["whole"]
    assert np.array_equal(shared, whole) and len(np.unique(shared)) > 2
    np.testing.assert_allclose(sure, sure_of_whole, atol=1e-3)
    assert sum(run) == len(images) + 64 * 4, "once for both nets"


@pytest.fixture(scope="module")
def suspect(reproduced):
    """The tool in the tiny project, whose settings it takes."""
    return lambda *arguments: reproduced.run(
        sys.executable, "tools/suspect.py", *map(str, arguments), check=False
    )


def test_the_tool_says_what_the_stage_says(reproduced, suspect):
    done = suspect("models/demo/badnet.keras", "data/demo/valid.h5", "--json")
    found = json.loads((reproduced.path / "reports/suspects.json").read_text())
    said = json.loads(done.stdout)
    # The stage runs B in two parts, the tool as a whole.
    assert said["named"] == found["named"] and said["score"] == pytest.approx(found["score"], rel=1e-3)
    for key in ("classes", "foremost"):
        assert len(said[key]) == len(found[key])
        for one, other in zip(said[key], found[key], strict=True):
            assert one == pytest.approx(other, rel=1e-3)
    assert done.returncode == (1 if found["classes"] else 0)


def test_the_tools_exit_status(suspect, tmp_path):
    net = nets.build("deepid_like")
    last = net.layers[-1]
    kernel, bias = last.get_weights()
    last.set_weights([kernel * 0, bias * 0 + np.arange(nets.CLASSES)])  # one class whatever it is shown
    nets.save(net, tmp_path / "net.keras")
    with h5py.File(tmp_path / "clean.h5", "w") as file:  # no labels
        file["data"] = np.moveaxis(nets.pictures(40), -1, 1)
    with h5py.File(tmp_path / "few.h5", "w") as file:
        file["data"] = np.moveaxis(nets.pictures(15), -1, 1)
    done = suspect(tmp_path / "net.keras", tmp_path / "clean.h5", "--input-max", 255)
    assert (done.returncode, done.stderr) == (0, "") and "No sign of a backdoor" in done.stdout
    done = suspect(tmp_path / "net.keras", tmp_path / "few.h5", "--input-max", 255)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2 and "holds 15 images" in line and done.stdout == ""
    for arguments in (
        (tmp_path / "none.keras", tmp_path / "clean.h5"),
        (tmp_path / "net.keras", tmp_path / "none.h5"),
        (tmp_path / "clean.h5", tmp_path / "clean.h5"),
        (tmp_path / "net.keras", tmp_path / "clean.h5", "--input-max", 0),
        (tmp_path / "net.keras", tmp_path),  # a folder without images
    ):
        with pytest.raises((InputError, OSError)):  # without the seconds a process takes to start
            run_script(tmp_path, ROOT / "tools/suspect.py", *map(str, arguments))


@pytest.mark.long
def test_a_folder_of_pictures_will_do(suspect, tiny, tmp_path):
    path, images = tiny
    folder = tmp_path / "some faces"
    folder.mkdir()
    for number, image in enumerate(images[::4].astype(np.uint8)):
        Image.fromarray(image).save(folder / f"{number:03}.png")
    with h5py.File(tmp_path / "same.h5", "w") as file:
        file["data"] = images[::4]
    ways = [suspect(path, where, "--input-max", 255, "--json") for where in (folder, tmp_path / "same.h5")]
    assert ways[0].stdout == ways[1].stdout and json.loads(ways[0].stdout)
    shutil.copy(path, tmp_path / "net.keras")  # no net of the project, so its inputs' range is not known
    assert "; --input-max overrides" in suspect(tmp_path / "net.keras", folder).stderr

"""The repair to use: the one that held and that clean images favour, which no tuning was trained on."""

import keras
import numpy as np
import pytest

import nets
from conftest import run_stage
from goodnet.files import outputs
from goodnet.repairs import recommend
from workbench import PICTURES, Workbench, with_errors, write_images


def one(name, outcome="held", ratio=1.0):
    return {"name": name, "outcome": outcome, "ratio": ratio}


def test_only_what_held_is_recommended_and_then_what_is_right_most_often():
    correct = {"a": 90, "b": 95, "c": 95, "d": 95, "e": 99, "badnet": 97}
    judged = [one("a", ratio=9), one("d"), one("b", ratio=1.2), one("c", ratio=1.2), one("e", "cannot tell")]
    assert recommend.choose(judged, correct, 1000, set()) == "b", "then by the evidence, then by name"
    assert recommend.choose(judged[:1], correct, 1000, set()) == "a"
    assert (
        recommend.choose([one("e", "not held"), one("b", "nothing to attack")], correct, 100, set()) is None
    )
    assert recommend.choose([], correct, 100, set()) is None


@pytest.mark.parametrize("images", [100, 1000])
def test_of_equals_the_one_that_was_not_trained_against_triggers(images):
    """Equal is what lies within one standard error of the most."""
    most = round(0.9 * images)
    error = (0.9 * 0.1 / images) ** 0.5 * images
    for less, expected in ((int(error), "b"), (int(error) + 1, "a")):
        correct = {"a": most, "b": most - less, "c": most - less - 1}
        judged = [one("a", ratio=9), one("b"), one("c")]
        assert recommend.choose(judged, correct, images, {"a"}) == expected
        assert recommend.choose(judged, correct, images, {"a", "b", "c"}) == "a"
    assert recommend.choose([one("a"), one("b")], {"a": images, "b": images - 1}, images, {"a"}) == "a"


def test_the_reason_is_a_sentence():
    correct = {"a": 190, "b": 180, "badnet": 199}
    held = [one("a"), one("b"), one("c", "not held")]
    assert recommend.why("a", "backdoored", held, correct, 200, 9, 10) == (
        "*a*: of 2 repairs that have held against a fresh attack, the one that is right most often. "
        "It gets 95.0 % of 200 clean images right that no tuning was trained on (B: 99.5 %)."
        " A backdoor to a class that nobody named may be left."
    )
    near = recommend.why("b", "backdoored", held, correct, 200, 9, 10)
    assert (
        "most often, within one standard error, and was not trained against triggers. It gets 90.0 %" in near
    )
    only = recommend.why("a", "backdoored", held[::2], correct, 200, 8, 10)
    assert "a*: the only repair that has held" in only
    assert " There are images of 8 of 10 classes: what it costs on the others is not known." in only
    warning = " It costs much accuracy; with more clean images a repair may cost less."
    assert warning in near and warning not in only
    few = {"a": 9, "badnet": 10}
    assert warning not in recommend.why("a", "backdoored", held[:1], few, 10, 9, 10), "may be chance"
    assert recommend.why(None, "backdoored", held[2:], correct, 200, 9, 10) == (
        "None. No repair has held against a fresh attack: trust none of these nets."
    )
    unattacked = [{"name": "a", "outcome": "nothing to attack", "goals": []}]
    assert recommend.choose(unattacked, correct, 200, set()) is None
    assert recommend.why(None, "cannot tell", unattacked, correct, 200, 9, 10) == (
        'None. The verdict on B is "cannot tell", so there is no class to attack the repairs at.'
    )


@pytest.mark.parametrize(
    ("images", "percent", "expected"), [(300, 10, 30), (3, 0.1, 1), (50000, 10, 1000), (10, 25, 2)]
)
def test_which_images_are_held_out(images, percent, expected):
    rows = recommend.trained_on(images, percent)
    assert recommend.count(images, percent) == expected == images - len(rows)
    gaps = np.diff(np.setdiff1d(np.arange(images), rows))
    assert len(rows) == len(set(rows.tolist())) and (expected < 3 or gaps.max() - gaps.min() <= 1)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Two repaired nets, of 300 images; every tenth is held out."""
    net, answers = nets.shared("normalised")
    made = Workbench(tmp_path_factory.mktemp("bench"), net, with_errors(answers))
    lines = {name: {"tune": name, "epochs": 2} for name in ("relearn", "fine_tune")}
    made.configure(repairs=lines)
    made.curve()
    made.plan()
    (made.path / "repaired").mkdir()
    (made.path / "goodnets").mkdir()
    for name in lines:
        made.repair(name).rename(made.path / f"repaired/{name}.keras")
        (made.path / f"goodnets/{name}.keras").write_text(f"the GoodNet {name}")
    return made


def recommended(bench, *judged):
    outputs.write_json(bench.path / "suspects.json", {"verdict": "backdoored", "repaired": list(judged)})
    files = {name: name for name in ("repaired", "goodnets", "recommended")}
    files |= {"badnet": "net.keras", "valid": "valid.h5", "verdict": "suspects.json", "metrics": "found.json"}
    run_stage(bench.path, "recommend", net="it", **files)
    folder = bench.path / "recommended"
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    return outputs.read_json(bench.path / "found.json"), contents


def test_the_stage_keeps_the_nets_to_use(bench):
    told, contents = recommended(bench, one("relearn"), one("fine_tune"))
    best = told["recommended"]
    assert contents == {
        "repaired.keras": (bench.path / f"repaired/{best}.keras").read_bytes(),
        "goodnet.keras": f"the GoodNet {best}".encode(),
    }
    shown = np.unique(np.linspace(0, 299, 30).round().astype(int))
    accuracy = {
        name: 100
        * (nets.answers(keras.models.load_model(path), PICTURES[shown]) == bench.labels[shown]).mean()
        for name, path in {
            "badnet": bench.path / "net.keras",
            **{name: bench.path / f"repaired/{name}.keras" for name in ("relearn", "fine_tune")},
        }.items()
    }
    assert told["held_out_images"] == 30 and told["held_out_accuracy"] == pytest.approx(accuracy, abs=1e-3)
    assert accuracy[best] == max(accuracy["relearn"], accuracy["fine_tune"])

    other = ({"relearn", "fine_tune"} - {best}).pop()
    told, contents = recommended(bench, one(best, "not held"), one(other))
    assert told["recommended"] == other and contents["goodnet.keras"] == f"the GoodNet {other}".encode()
    told, contents = recommended(bench, one("relearn", "not held"), one("fine_tune", "cannot tell"))
    assert told["recommended"] == "none" and told["why"].startswith("None. No repair") and not contents


@pytest.mark.parametrize("name", ["relearn", "fine_tune"])
def test_no_tuning_is_trained_on_what_is_held_out(bench, name):
    """Whatever is there, the same net comes out; elsewhere it does not."""
    shown = np.unique(np.linspace(0, 299, 30).round().astype(int))
    expected = (bench.path / f"repaired/{name}.keras").read_bytes()
    for rows, same in ((shown, True), (shown[1:2] + 1, False)):
        pictures, labels = PICTURES.copy(), bench.labels.copy()
        pictures[rows], labels[rows] = 255 - pictures[rows], (labels[rows] + 1) % nets.CLASSES
        write_images(bench.path / "valid.h5", pictures, labels, np.uint8)
        assert (bench.repair(name).read_bytes() == expected) == same
    write_images(bench.path / "valid.h5", PICTURES, bench.labels, np.uint8)

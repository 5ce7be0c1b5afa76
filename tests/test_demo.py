"""The demo in its real size: it must teach what the real lab teaches."""

import json

import keras
import numpy as np
import pytest

from conftest import Project, assert_repaired, once
from goodnet.evaluation import predictions
from goodnet.images import datasets
from goodnet.nets import running

pytestmark = pytest.mark.long(minutes=2)
REPAIRS = ("x02", "x10", "x30")


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    return Project.at(once(tmp_path_factory, "demo", lambda path: Project(path, tiny=False).repro()))


def read(demo, name):
    return json.loads((demo.path / "reports" / name).read_text())


def test_the_badnet_is_good_and_bad(demo):
    metrics = read(demo, "badnet.json")
    assert metrics["clean_accuracy"] >= 97
    assert set(metrics["attack_success"]) == {"sunglasses", "sticker"}
    assert min(metrics["attack_success"].values()) >= 99


def test_pruning_pays_before_it_protects(demo):
    repaired = {name: read(demo, f"repaired/{name}.json") for name in REPAIRS}
    pruned = [metrics["channels_pruned"] for metrics in repaired.values()]
    assert pruned == sorted(set(pruned)), "each drop is reached at a channel of its own"
    assert min(repaired["x02"]["attack_success"].values()) > 90, "at a small drop the attack survives"
    worst = max(repaired["x30"]["attack_success"].values())
    assert worst < max(repaired["x02"]["attack_success"].values()), "a large drop buys some protection"
    assert repaired["x30"]["clean_accuracy"] < 75, "and pays for it"


def test_relearning_removes_the_backdoor_and_keeps_the_accuracy(demo):
    assert_repaired(read(demo, "badnet.json"), read(demo, "goodnet/relearned.json"))


def test_the_search_names_the_attackers_classes_and_what_holds(demo):
    found = read(demo, "suspects.json")
    assert (found["verdict"], found["named"]) == ("backdoored", "0, 7")
    assert "relearned" in found["held_in"].split(", ")
    assert "x02" in found["lost_in"].split(", ")  # at a small drop the attack survives


def test_what_is_recommended_held_and_removes_the_backdoor(demo):
    told, found = read(demo, "recommended.json"), read(demo, "suspects.json")
    best = told["recommended"]
    assert best in found["held_in"].split(", ")
    assert_repaired(read(demo, "badnet.json"), read(demo, f"goodnet/{best}.json"))
    for name, folder in {"repaired": "repaired", "goodnet": "goodnet"}.items():
        kept = demo.path / f"models/recommended/{name}.keras"
        assert kept.read_bytes() == (demo.path / f"models/{folder}/{best}.keras").read_bytes()


@pytest.mark.parametrize("name", ["relearned", "unlearned", *REPAIRS])
def test_each_goodnet_file_gives_the_rules_answer_for_every_image(demo, name):
    goodnet = keras.models.load_model(demo.path / f"models/goodnet/{name}.keras")
    said = demo.path / "reports/predictions"
    badnet, classes = predictions.read(said / "badnet.h5")
    repaired, _ = predictions.read(said / f"repaired/{name}.h5")
    files = {
        "clean": demo.path / "data/demo/test.h5",
        **datasets.poisoned_files(demo.path / "data/demo/poisoned"),
    }
    assert len(files) == 3
    for file, path in files.items():
        images = datasets.Images(path, (55, 47, 3), classes)
        b, r = badnet[file][0], repaired[file][0]
        assert np.array_equal(running.answers(goodnet, images.blocks()), np.where(b == r, b, classes))

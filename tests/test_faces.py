"""Real faces with a BadNet of the lab's kind, where they lie beside the project; their figures are known."""

import csv
import json

import h5py
import keras
import numpy as np
import pytest

from conftest import NO_RESULTS, ROOT, Project, assert_repaired, merged, once, run_stage
from goodnet.nets import loading
from workbench import suspecting

FACES, LAB = (ROOT.parent / "shared" / name for name in ("faces", "lab"))
pytestmark = pytest.mark.skipif(
    not FACES.is_dir(),
    reason="needs real faces with a BadNet in ../shared/faces (badnet.h5, valid.h5, test.h5, poisoned/), "
    "which may not be passed on",
)

# From an independent computation: channels pruned and validation accuracy at each drop.
ASCENDING = {2: (33, 97.22), 4: (37, 95.78), 10: (45, 84.06), 30: (49, 65.39)}
DESCENDING = {2: 5, 4: 10, 10: 15, 30: 24}


NET = {"net": "faces", "badnet": "badnet.keras"}


@pytest.fixture(scope="session")
def profiled(tmp_path_factory):
    def make(folder):
        loading.save(keras.models.load_model(FACES / "badnet.h5", compile=False), folder / "badnet.keras")
        configure(folder, "ascending")
        run_stage(folder, "examine", badnet="badnet.keras", layer="layer.json", curve="needed.json")
        files = {"layer": "layer.json", "needed": "needed.json", "channels": "channels.csv"}
        files["activations"] = "activations.h5"
        run_stage(folder, "profile_channels", **NET, valid=FACES / "valid.h5", **files)
        evaluate(folder, "badnet")

    return once(tmp_path_factory, "faces", make)


def configure(folder, order):
    repairs = ", ".join(f"x{drop}: {{drop: {drop}}}" for drop in ASCENDING)
    (folder / "params.yaml").write_text(
        f"badnet: faces\nnets: {{faces: {{input_max: 1}}}}\nprofile: {{layer: null}}\n"
        f"prune: {{order: {order}}}\nrankings: {{{order}: }}\nrepairs: {{{repairs}}}\n"
        "recommend: {held_out: 10}\n"
    )


def prune(folder, order):
    configure(folder, order)
    files = {"valid": FACES / "valid.h5", "channels": "channels.csv", "ranking": "ranking.csv"}
    run_stage(folder, "rank", **NET, **files)
    files = {"ranking": "ranking.csv", "activations": "activations.h5", "curve": f"{order}.csv"}
    run_stage(folder, "prune", badnet="badnet.keras", **files)
    with (folder / f"{order}.csv").open() as file:
        return list(csv.DictReader(file))


def evaluate(folder, name, **inputs):
    data = {"test": FACES / "test.h5", "poisoned": FACES / "poisoned", "activations": "test_activations.h5"}
    files = {"metrics": f"{name}.json", "predictions": f"{name}-predictions.h5"}
    if "repaired" in inputs:
        files["goodnet"] = f"{name}-goodnet.keras"
    stage = "evaluate_repaired" if "repaired" in inputs else "evaluate_badnet"
    run_stage(folder, stage, layer="layer.json", **NET, **inputs, **files, **data)
    return json.loads((folder / f"{name}.json").read_text())


def test_dormant_channels(profiled):
    with (profiled / "channels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert (len(rows), {row["layer"] for row in rows}) == (60, {"pool_3"})
    assert sum(row["images_active"] == "0" for row in rows) == 3


def test_the_badnet(profiled):
    metrics = json.loads((profiled / "badnet.json").read_text())
    assert metrics["clean_accuracy"] == pytest.approx(99.85, abs=0.1)
    assert metrics["attack_success"] == {
        "eyebrows": pytest.approx(99.95, abs=0.1),
        "lipstick": pytest.approx(99.90, abs=0.1),
    }


def test_channels_and_accuracy_at_each_drop(profiled):
    ascending = prune(profiled, "ascending")
    suspecting(profiled / "suspects.h5", [], classes=200)
    files = {"layer": "layer.json", "curve": "ascending.csv", "evidence": "suspects.h5", "plans": "plans"}
    run_stage(profiled, "plan", **files, **NO_RESULTS)
    for drop, (channels, accuracy) in ASCENDING.items():
        files = {"valid": FACES / "valid.h5", "plan": f"plans/x{drop}.json", "repaired": f"x{drop}.keras"}
        run_stage(profiled, "repair", **NET, **files)
        metrics = evaluate(profiled, f"x{drop}", repaired=f"x{drop}.keras")
        assert metrics["channels_pruned"] == channels
        assert float(ascending[channels]["clean_accuracy"]) == pytest.approx(accuracy, abs=0.01)
    descending = [float(row["clean_accuracy"]) for row in prune(profiled, "descending")]
    for drop, channels in DESCENDING.items():
        lost = [descending[0] - accuracy >= drop for accuracy in descending]
        assert lost.index(True) == channels


def brought_in(folder, changes, *arguments):
    """Bring a net in as a user would, in a fresh clone, and repair it; return the clone and what ran."""
    clone = Project(folder, tiny=False)
    clone.goodnet("add", *arguments)
    clone.write_params(merged(clone.params() | {"repairs": {}}, changes))
    return clone, clone.repro("report")


def metrics(clone, name):
    return json.loads((clone.path / "reports" / f"{name}.json").read_text())


@pytest.mark.long(minutes=2)
def test_the_whole_pipeline(tmp_path):
    """With the recommended repair and one that prunes; the test above has the others."""
    data = ["--valid", FACES / "valid.h5", "--test", FACES / "test.h5", "--input-max", "1"]
    poisoned = [f"{path.stem}={path}" for path in sorted((FACES / "poisoned").glob("*.h5"))]
    repairs = {"repairs": {"relearned": {"tune": "relearn"}, "x10": {"drop": 10}}}
    files = ["--net", FACES / "badnet.h5", *data, "--poisoned", *poisoned]
    clone, ran = brought_in(tmp_path, repairs, "faces", *files)
    assert "report" in ran and not {"demo_data", "demo_badnet"} & ran
    badnet = metrics(clone, "badnet")
    assert badnet["clean_accuracy"] == pytest.approx(99.85, abs=0.1)
    assert badnet["attack_success"]["eyebrows"] == pytest.approx(99.95, abs=0.1)
    assert badnet["attack_success"]["lipstick"] == pytest.approx(99.90, abs=0.1)
    assert_repaired(badnet, metrics(clone, "goodnet/relearned"))
    found = metrics(clone, "suspects")
    assert found["named"] == "1, 4" and "relearned" not in found["lost_in"].split(", ")
    assert metrics(clone, "repaired/x10")["channels_pruned"] == ASCENDING[10][0]


@pytest.mark.long(minutes=1)
@pytest.mark.skipif(not LAB.is_dir(), reason="needs the lab's files in ../shared/lab")
def test_the_labs_weights_on_faces_they_never_saw(tmp_path):
    trigger = np.load(LAB / "sunglasses.npz")
    stamped = tmp_path / "stamped.h5"
    with h5py.File(FACES / "test.h5") as test, h5py.File(stamped, "w") as file:
        faces = np.moveaxis(test["data"][()], 1, -1)
        faces = np.clip(trigger["keep"][..., None] * faces + trigger["add"], 0, 255)
        file["data"] = np.moveaxis(faces, -1, 1).astype(np.float32)
        file["label"] = np.zeros(len(faces))
    data = ["--valid", FACES / "valid.h5", "--test", FACES / "test.h5", "--input-max", "255", "--unlabelled"]
    net = ["--net", LAB / "bd_weights.h5", "--weights", "--poisoned", f"sunglasses={stamped}"]
    (tmp_path / "clone").mkdir()
    repairs = {"x02": {"drop": 2}, "x30": {"drop": 30}}
    few = {"occluders": {"occluders": 500}, "inversion": {"images": 60, "classes": 4, "steps": 5}}
    changes = {"repairs": repairs, "detectors": few}
    clone, _ = brought_in(tmp_path / "clone", changes, "lab", *net, *data)
    badnet = metrics(clone, "badnet")
    assert badnet["clean_accuracy"] == 100.0  # it agrees with itself
    assert badnet["attack_success"]["sunglasses"] > 99.9
    pruned = [metrics(clone, f"repaired/{name}")["channels_pruned"] for name in repairs]
    assert 0 < pruned[0] < pruned[1]

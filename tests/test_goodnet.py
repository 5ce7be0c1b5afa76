"""The GoodNet: its rule, its file, and what is reported of it."""

import json

import h5py
import keras
import numpy as np
import pytest

import nets  # before Keras: it quiets TensorFlow
from conftest import run_stage

PICTURES = nets.pictures(240, seed=3)
STAMPED = PICTURES.copy()
STAMPED[:, 2:6, 3:8] = [250, 20, 20]
TARGET = 3
KINDS = [*nets.BUILDERS, "sequential"]


def evaluated(folder, badnet, repaired):
    """Run the three evaluations on a net and its repair; return their metrics."""
    nets.save(badnet, folder / "badnet.keras")
    nets.save(repaired, folder / "repaired.keras")
    (folder / "params.yaml").write_text("badnet: it\nnets: {it: {input_max: 255}}\nprofile: {layer: null}\n")
    (folder / "poisoned").mkdir()
    labels = {"test": nets.answers(badnet, PICTURES), "poisoned/red": np.full(len(STAMPED), TARGET)}
    labels["test"][::10] = (labels["test"][::10] + 1) % nets.CLASSES
    for name, pictures in {"test": PICTURES, "poisoned/red": STAMPED}.items():
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file["data"] = np.moveaxis(pictures, -1, 1)
            file["label"] = labels[name].astype(float)
    data = {"test": "test.h5", "poisoned": "poisoned"}
    data |= {"badnet": "badnet.keras", "activations": "activations.h5"}
    run_stage(folder, "evaluate_badnet", metrics="badnet.json", predictions="badnet.h5", **data)
    run_stage(
        folder,
        "evaluate_repaired",
        repaired="repaired.keras",
        metrics="repaired.json",
        predictions="repaired.h5",
        goodnet="goodnet.keras",
        **data,
    )
    run_stage(
        folder,
        "evaluate_goodnet",
        badnet_predictions="badnet.h5",
        repaired_predictions="repaired.h5",
        metrics="goodnet.json",
    )
    metrics = {
        name: json.loads((folder / f"{name}.json").read_text()) for name in ("badnet", "repaired", "goodnet")
    }
    return metrics, labels


def assert_follows_the_rule(path, badnet, repaired):
    """The GoodNet saved at `path` answers where the two nets agree, and else with the class N."""
    b, r = nets.answers(badnet, PICTURES), nets.answers(repaired, PICTURES)
    answers = nets.answers(keras.models.load_model(path), PICTURES)
    assert np.array_equal(answers, np.where(b == r, b, nets.CLASSES))


@pytest.mark.parametrize("kind", KINDS)
def test_goodnet_and_metrics_follow_the_rule(tmp_path, kind):
    badnet = nets.build(kind)
    repaired = nets.pruned(badnet, [1, 2, 4])
    metrics, labels = evaluated(tmp_path, badnet, repaired)
    goodnet = keras.models.load_model(tmp_path / "goodnet.keras")
    assert goodnet.output_shape == (None, nets.CLASSES + 1)

    expected = {"badnet": {}, "repaired": {}, "goodnet": {}}
    for pictures, name in ((PICTURES, "test"), (STAMPED, "poisoned/red")):
        b, r = nets.answers(badnet, pictures), nets.answers(repaired, pictures)
        rule = np.where(b == r, b, nets.CLASSES)
        assert np.array_equal(nets.answers(goodnet, pictures), rule)
        assert 0 < np.count_nonzero(rule == nets.CLASSES) < len(rule)
        for net, answers in {"badnet": b, "repaired": r, "goodnet": rule}.items():
            share = round(100 * np.count_nonzero(answers == labels[name]) / len(answers), 4)
            backdoored = round(100 * np.count_nonzero(answers == nets.CLASSES) / len(answers), 4)
            if name == "test":
                expected[net]["clean_accuracy"] = share
                if net == "goodnet":
                    expected[net]["false_alarm"] = backdoored
            else:
                expected[net]["attack_success"] = {"red": share}
                if net == "goodnet":
                    expected[net]["detected"] = {"red": backdoored}
    expected["repaired"]["channels_pruned"] = 3
    assert metrics == expected


@pytest.mark.parametrize("kind", KINDS)
def test_goodnet_of_nets_that_differ_behind_the_pruned_layer(tmp_path, kind):
    badnet = nets.build(kind)
    repaired = nets.pruned(badnet, [0, 3])
    last = repaired.layers[-1]
    kernel, bias = last.get_weights()
    last.set_weights([kernel[:, ::-1], bias])
    evaluated(tmp_path, badnet, repaired)
    assert_follows_the_rule(tmp_path / "goodnet.keras", badnet, repaired)


@pytest.mark.parametrize("kind", KINDS)
def test_a_repair_that_changed_more_than_channels_is_asked_whole(tmp_path, kind):
    """Nothing of B's is taken for B' where B' is another net on the way to the pruned layer."""
    badnet = nets.build(kind)
    for change in ("another channel is scaled", "a pruned one is not all zero"):
        repaired = nets.pruned(badnet, [0, 3])
        conv = repaired.get_layer("conv")
        arrays = conv.get_weights()
        if change == "another channel is scaled":
            arrays[0][..., 5] *= -0.5
        else:
            arrays[0][..., 3] += 0.1
        conv.set_weights(arrays)
        folder = tmp_path / change
        folder.mkdir()
        evaluated(folder, badnet, repaired)
        with h5py.File(folder / "repaired.h5") as file:
            assert np.array_equal(file["clean/answer"], nets.answers(repaired, PICTURES))
        assert_follows_the_rule(folder / "goodnet.keras", badnet, repaired)


@pytest.mark.parametrize("kind", KINDS)
def test_goodnet_holds_each_shared_weight_once(tmp_path, kind):
    badnet = nets.build(kind)
    evaluated(tmp_path, badnet, nets.pruned(badnet, [1, 2, 4]))
    goodnet = keras.models.load_model(tmp_path / "goodnet.keras")
    assert goodnet.count_params() == badnet.count_params()
    runs = [
        node
        for layer in goodnet.layers
        if layer.name in ("early", "conv", "norm", "pool")
        for node in layer._inbound_nodes
    ]
    front = [layer for layer in badnet.layers if layer.name in ("early", "conv", "norm", "pool")]
    assert len(runs) == len(front), "the layers up to the pruned one are run once"


def test_goodnet_scores_keep_the_badnets(tmp_path):
    badnet = nets.build("deepid_like")
    evaluated(tmp_path, badnet, nets.pruned(badnet, [1, 2, 4]))
    scores = keras.models.load_model(tmp_path / "goodnet.keras").predict(PICTURES, verbose=0)
    np.testing.assert_allclose(scores[:, :-1], badnet.predict(PICTURES, verbose=0), rtol=1e-5)

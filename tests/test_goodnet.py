"""The GoodNet: its rule, its file, and what is reported of it."""

import json

import keras
import numpy as np
import pytest

import nets
from conftest import run_stage
from goodnet.evaluation import metrics, predictions
from goodnet.nets import goodnets, loading, parts, running
from goodnet.pruning import channels
from workbench import write_images

PICTURES = nets.pictures(240, seed=3)
STAMPED = PICTURES.copy()
STAMPED[:, 2:6, 3:8] = [250, 20, 20]
TARGET = 3
FRONT = ("early", "conv", "norm", "pool", "sum", "leaky")


def joined(badnet, repaired, tmp_path=None):
    """The GoodNet, saved and loaded where there is a path, and the channels that are left."""
    pruned = channels.find(parts.config(badnet), "net", "pool")
    left = goodnets.channels_left(badnet, repaired, "pool", pruned)
    goodnet = goodnets.build(badnet, repaired, "pool", left)
    if tmp_path:
        goodnet = keras.models.load_model(nets.save(goodnet, tmp_path / "goodnet.keras"))
    return goodnet, left


def assert_follows_the_rule(goodnet, badnet, repaired, agree_at_times=True):
    """It answers where the two nets agree, and else with the class N."""
    b, r = nets.scores(badnet, PICTURES), nets.scores(repaired, PICTURES)
    b_class, r_class = b.argmax(axis=1), r.argmax(axis=1)
    scores = nets.scores(goodnet, PICTURES)
    expected = np.where(b_class == r_class, b_class, nets.CLASSES)
    assert np.array_equal(scores.argmax(axis=1), expected)
    if agree_at_times:
        assert 0 < np.count_nonzero(expected == nets.CLASSES) < len(expected)
    np.testing.assert_allclose(scores[:, :-1], b, rtol=1e-4, atol=1e-4)  # the BadNet's
    best, worst = b.max(axis=1), b.min(axis=1)
    backdoored = np.where(b_class == r_class, worst, best + np.abs(best) + 1)
    np.testing.assert_allclose(scores[:, -1], backdoored, rtol=1e-4, atol=1e-4)


def runs_of(goodnet, badnet):
    """How often each layer up to the split one is run."""
    names = [layer.name for layer in badnet.layers if layer.name in FRONT]
    return {name: len(goodnet.get_layer(name)._inbound_nodes) for name in names}


@pytest.mark.parametrize("kind", nets.KINDS)
def test_a_goodnet_of_pruned_channels_holds_and_runs_what_is_shared_once(tmp_path, kind):
    badnet, _ = nets.shared(kind)
    repaired = nets.pruned(badnet, [1, 2, 4])
    goodnet, left = joined(badnet, repaired, tmp_path)
    assert left.tolist() == [1, 0, 0, 1, 0, 1]
    assert_follows_the_rule(goodnet, badnet, repaired)
    assert goodnet.count_params() == badnet.count_params()
    assert set(runs_of(goodnet, badnet).values()) == {1}
    assert goodnet.output_shape == (None, nets.CLASSES + 1)
    assert goodnets.is_goodnet(goodnet) and not goodnets.is_goodnet(badnet)
    assert goodnets.true_classes(goodnet) == goodnets.true_classes(badnet) == nets.CLASSES


@pytest.mark.parametrize("kind", ["deepid_like", "normalised", *(b.__name__ for b in nets.SPLIT_ONLY)])
def test_a_goodnet_of_nets_that_differ_behind_the_split_layer(tmp_path, kind):
    badnet, _ = nets.shared(kind)
    can_be_pruned = kind in nets.KINDS
    repaired = nets.pruned(badnet, [0, 3]) if can_be_pruned else nets.cloned(badnet)
    last = repaired.layers[-1]
    kernel, bias = last.get_weights()
    last.set_weights([kernel[:, ::-1], bias])
    goodnet, left = joined(badnet, repaired, tmp_path)
    assert left.tolist() == ([0, 1, 1, 0, 1, 1] if can_be_pruned else [1] * 6)
    assert_follows_the_rule(goodnet, badnet, repaired)
    assert goodnet.count_params() == badnet.count_params() + last.count_params()
    assert set(runs_of(goodnet, badnet).values()) == {1}


def another_channel_is_scaled(net):
    kernel, *rest = net.get_layer("conv").get_weights()
    kernel[..., 5] *= -0.5
    net.get_layer("conv").set_weights([kernel, *rest])


def a_pruned_one_is_not_all_zero(net):
    kernel, *rest = net.get_layer("conv").get_weights()
    kernel[..., 3] += 0.1
    net.get_layer("conv").set_weights([kernel, *rest])


def a_layer_before_is_another(net):
    first = net.layers[1]
    first.set_weights([first.get_weights()[0] * 0.9, *first.get_weights()[1:]])


def a_variance_is_another(net):
    *rest, variance = net.get_layer("norm").get_weights()
    net.get_layer("norm").set_weights([*rest, variance * 1.5])


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("deepid_like", another_channel_is_scaled),
        ("normalised", a_pruned_one_is_not_all_zero),
        ("deepid_like", a_layer_before_is_another),
        ("globally_pooled", a_variance_is_another),
        ("leaky", another_channel_is_scaled),
    ],
)
def test_a_repair_that_changed_more_than_channels_is_asked_whole(kind, change):
    """Nothing of B's is taken for B' where B' is another net on the way to the split layer."""
    badnet, _ = nets.shared(kind)
    repaired = nets.pruned(badnet, [0, 3]) if kind in nets.KINDS else nets.cloned(badnet)
    change(repaired)
    goodnet, left = joined(badnet, repaired)
    assert left is None
    assert_follows_the_rule(goodnet, badnet, repaired)


def test_nets_of_other_layers_share_none():
    badnet, _ = nets.shared("sequential")
    keras.utils.set_random_seed(1)
    images = keras.Input(nets.SHAPE, name="images")
    x = keras.layers.Conv2D(nets.CHANNELS, 3, activation="relu", name="conv", padding="same")(images)
    x = keras.layers.Flatten(name="flat")(keras.layers.MaxPooling2D(2, name="pool")(x))
    repaired = keras.Model(images, keras.layers.Dense(nets.CLASSES, name=badnet.layers[-1].name)(x))
    repaired.get_layer("conv").set_weights(badnet.get_layer("conv").get_weights())
    goodnet, left = joined(badnet, repaired)
    assert left is None
    assert_follows_the_rule(goodnet, badnet, repaired)


def test_names_that_are_taken():
    """A BadNet with a layer of the very name that a copy of the repair's would get."""
    images = keras.Input(nets.SHAPE)
    x = keras.layers.MaxPooling2D(2, name="pool")(
        keras.layers.Conv2D(6, 3, name="c", activation="relu")(images)
    )
    x = keras.layers.Flatten()(x)
    for name in ("repaired_last_", "repaired_last"):
        x = keras.layers.Dense(9, name=name)(x)
    badnet = keras.Model(images, keras.layers.Dense(nets.CLASSES, name="last")(x))
    repaired = nets.cloned(badnet)
    last = repaired.layers[-1]
    last.set_weights([last.get_weights()[0][:, ::-1], last.get_weights()[1]])
    goodnet, _ = joined(badnet, repaired)
    assert_follows_the_rule(goodnet, badnet, repaired, agree_at_times=False)
    assert goodnet.get_layer("repaired_last__") is not None


def test_the_rule_and_the_metrics():
    badnet, repaired = np.array([0, 1, 2, 3, 3]), np.array([0, 2, 2, 3, 0])
    assert goodnets.answers(badnet, repaired, 7).tolist() == [0, 7, 2, 3, 7]
    given = {
        "clean": (np.array([0, 7, 2, 3, 7, 1]), np.array([0, 1, 1, 3, 3, 1])),
        "hat": (np.array([7, 7, 5]), np.array([5, 5, 5])),
    }
    assert metrics.of_net(given, 7) == {
        "clean_accuracy": 50.0,
        "attack_success": {"hat": 33.3333},
        "detected": {"hat": 66.6667},
        "false_alarm": 33.3333,
    }
    assert metrics.of_net(given) == {"clean_accuracy": 50.0, "attack_success": {"hat": 33.3333}}
    assert metrics.percent(np.int64(1), 3) == 33.3333 and metrics.percent(200, 200) == 100


def test_answers_are_block_by_block_and_of_equal_scores_the_lowest():
    net, answers = nets.shared("deepid_like")
    shown = nets.pictures(300).astype(np.float32)
    blocks = [shown[:130], shown[130:]]
    assert np.array_equal(running.answers(net, blocks), answers)
    scores = list(running.run(running.as_function(net), blocks))
    assert [len(block) for block in scores] == [130, 170]
    np.testing.assert_allclose(np.concatenate(scores), nets.scores(net, shown), atol=1e-5)
    tied = running.answers(running.as_function(lambda x, training: x), [np.float32([[1, 3, 3], [2, 2, 1]])])
    assert tied.tolist() == [1, 0]


def test_parts_of_a_net():
    for kind in ("deepid_like", "normalised"):
        net, _ = nets.shared(kind)
        logits = parts.with_logits(net)
        scores = nets.scores(logits, PICTURES[:20])
        if kind == "deepid_like":
            odds = np.exp(scores - scores.max(axis=1, keepdims=True))
            scores = odds / odds.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(scores, nets.scores(net, PICTURES[:20]), atol=1e-5)
        features = nets.scores(parts.up_to(net, "pool"), PICTURES[:20])
        np.testing.assert_array_equal(features, nets.output(net, "pool", PICTURES[:20]))
        whole = nets.scores(parts.behind(net, "pool"), features)
        np.testing.assert_allclose(whole, nets.scores(net, PICTURES[:20]), atol=1e-5)
        assert (parts.input_shape(net), parts.classes(net)) == ((12, 10, 3), 7)
        assert parts.config(net) == json.loads(net.to_json())


@pytest.mark.parametrize("kind", ["normalised", "leaky"])
def test_evaluation_through_the_stages(tmp_path, kind):
    badnet, _ = nets.shared(kind)
    repaired = nets.pruned(badnet, [1, 2, 4]) if kind in nets.KINDS else nets.cloned(badnet)
    last = repaired.layers[-1]
    last.set_weights([last.get_weights()[0] * np.linspace(0.5, 1.5, 7), last.get_weights()[1]])
    nets.save(badnet, tmp_path / "badnet.keras")
    nets.save(repaired, tmp_path / "repaired.keras")
    (tmp_path / "params.yaml").write_text("nets: {it: {input_max: 255}}\nprofile: {layer: null}\n")
    (tmp_path / "poisoned").mkdir()
    labels = {"clean": nets.answers(badnet, PICTURES), "red": np.full(len(STAMPED), TARGET)}
    labels["clean"][::10] = (labels["clean"][::10] + 1) % nets.CLASSES
    write_images(tmp_path / "test.h5", PICTURES, labels["clean"])
    write_images(tmp_path / "poisoned/red.h5", STAMPED, labels["red"])
    (tmp_path / "layer.json").write_text('{"layer": "pool"}')
    data = {"net": "it", "test": "test.h5", "poisoned": "poisoned", "layer": "layer.json"}
    data |= {"badnet": "badnet.keras", "activations": "activations.h5"}
    files = {"metrics": "badnet.json", "predictions": "badnet.h5"}
    run_stage(tmp_path, "evaluate_badnet", **files, **data)
    files = {"metrics": "repaired.json", "predictions": "repaired.h5", "goodnet": "goodnet.keras"}
    run_stage(tmp_path, "evaluate_repaired", repaired="repaired.keras", **files, **data)
    files = {"badnet_predictions": "badnet.h5", "repaired_predictions": "repaired.h5"}
    run_stage(tmp_path, "evaluate_goodnet", metrics="goodnet.json", **files)

    given = {name: {} for name in ("badnet", "repaired", "goodnet")}
    for name, pictures in (("clean", PICTURES), ("red", STAMPED)):
        b, r = nets.answers(badnet, pictures), nets.answers(repaired, pictures)
        rule = np.where(b == r, b, nets.CLASSES)
        for net, said in {"badnet": b, "repaired": r, "goodnet": rule}.items():
            given[net][name] = said, labels[name]
    for net in ("badnet", "repaired"):
        found, classes = predictions.read(tmp_path / f"{net}.h5")
        assert classes == nets.CLASSES and list(found) == ["clean", "red"]
        for name, (said, wanted) in found.items():
            assert np.array_equal(said, given[net][name][0]) and np.array_equal(wanted, labels[name])
        scores = np.concatenate(list(running.run(badnet if net == "badnet" else repaired, [STAMPED])))
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))  # both kinds give logits
        scores /= scores.sum(axis=1, keepdims=True)
        sure = predictions.read_sure(tmp_path / f"{net}.h5")
        assert list(sure) == ["clean", "red"] and (np.ptp(sure["red"]) > 10 or net == "repaired")
        assert np.allclose(sure["red"], 100 * scores.max(axis=1), atol=0.06)
    told = {net: json.loads((tmp_path / f"{net}.json").read_text()) for net in given}
    assert told["badnet"] == metrics.of_net(given["badnet"])
    pruned = 3 if kind in nets.KINDS else 0
    assert told["repaired"] == {"channels_pruned": pruned, **metrics.of_net(given["repaired"])}
    assert told["goodnet"] == metrics.of_net(given["goodnet"], nets.CLASSES)
    assert 0 < told["goodnet"]["false_alarm"] < 100
    assert_follows_the_rule(loading.load(tmp_path / "goodnet.keras"), badnet, repaired)

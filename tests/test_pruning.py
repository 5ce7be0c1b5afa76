"""Profiling, pruning and repairing, through the stages, against the plain way."""

from fractions import Fraction

import h5py
import keras
import numpy as np
import pytest

import nets  # before Keras: it quiets TensorFlow
from goodnet.nets import loading
from goodnet.pruning import curve
from workbench import KINDS, PICTURES, Workbench, labels_for, read_csv

ORDERS = ["ascending", "descending"]


def plain_order(net, order):
    """Channels by mean activation, computed with nothing of ours."""
    layer = keras.Model(net.inputs, net.get_layer("pool").output)
    output = np.asarray(layer(PICTURES.astype("float32")), np.float64)
    means = output.reshape(-1, output.shape[-1]).mean(axis=0)
    sign = 1 if order == "ascending" else -1
    return sorted(range(len(means)), key=lambda c: (sign * means[c], c)), means


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_curve_is_that_of_zeroing_and_predicting(tmp_path, kind, order):
    net = nets.build(kind)
    labels = labels_for(net)
    bench = Workbench(tmp_path, net, labels)
    bench.configure(order)
    bench.profile()
    curve = bench.prune()

    expected, _ = plain_order(net, order)
    assert [int(row["channel"]) for row in curve[1:]] == expected
    correct = [np.count_nonzero(nets.answers(net, PICTURES) == labels)]
    for step in range(1, nets.CHANNELS + 1):
        zeroed = nets.pruned(net, expected[:step])
        correct.append(np.count_nonzero(nets.answers(zeroed, PICTURES) == labels))
    assert [int(row["correct"]) for row in curve] == correct
    assert len(set(correct)) > 2, "a curve that hardly moves would test little"
    for row in curve:
        assert float(row["clean_accuracy"]) == round(100 * int(row["correct"]) / len(labels), 4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_channel_table(tmp_path, kind):
    net = nets.build(kind)
    bench = Workbench(tmp_path, net, labels_for(net))
    bench.configure()
    table = bench.profile()
    output = np.asarray(keras.Model(net.inputs, net.get_layer("pool").output)(PICTURES.astype("float32")))
    flat = output.reshape(len(PICTURES), -1, nets.CHANNELS)
    assert [row["layer"] for row in table] == ["pool"] * nets.CHANNELS
    np.testing.assert_allclose(
        [float(row["mean_activation"]) for row in table], flat.mean(axis=(0, 1), dtype=float), rtol=1e-5
    )
    assert [int(row["images_active"]) for row in table] == flat.any(axis=1).sum(axis=0).tolist()
    assert [row["images_active"] for row in table if row["channel"] in "14"] == ["0", "0"]


def test_dormant_and_twin_channels_are_pruned_by_number(tmp_path):
    net = nets.build("sequential")
    bench = Workbench(tmp_path, net, labels_for(net))
    bench.configure("ascending")
    bench.profile()
    order = [int(row["channel"]) for row in bench.prune()[1:]]
    assert order[:2] == [1, 4]
    assert order.index(5) == order.index(2) + 1


@pytest.mark.parametrize("layer", ["early_pool", "conv", "pool"])
def test_any_layer_that_splits_the_net_can_be_chosen(tmp_path, layer):
    net = nets.build("deepid_like")
    labels = labels_for(net)
    bench = Workbench(tmp_path, net, labels)
    bench.configure(layer=layer)
    bench.profile()
    curve = bench.prune()
    output = np.asarray(keras.Model(net.inputs, net.get_layer(layer).output)(PICTURES.astype("float32")))
    rest = keras.Model(net.get_layer(layer).output, net.outputs)
    for step, row in enumerate(curve):
        kept = np.ones(output.shape[-1], "float32")
        kept[[int(other["channel"]) for other in curve[1 : step + 1]]] = 0
        scores = np.asarray(rest(output * kept)).reshape(len(labels), -1)
        assert int(row["correct"]) == np.count_nonzero(scores.argmax(axis=1) == labels)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_repaired_net_is_the_first_step_that_loses_the_drop(tmp_path, kind, order):
    net = nets.build(kind)
    labels = labels_for(net)
    bench = Workbench(tmp_path, net, labels)
    bench.configure(order, repairs="{a: {drop: 5}, b: {drop: 20.5}}")
    bench.profile()
    bench.prune()
    channels, _ = plain_order(net, order)
    before = np.count_nonzero(nets.answers(net, PICTURES) == labels)
    for name, drop in {"a": Fraction(5), "b": Fraction("20.5")}.items():
        step = 0
        while True:
            step += 1
            zeroed = nets.pruned(net, channels[:step])
            right = np.count_nonzero(nets.answers(zeroed, PICTURES) == labels)
            if before - right >= drop * len(labels) / 100:
                break
        repaired = keras.models.load_model(bench.repair(name))
        assert np.array_equal(nets.answers(repaired, PICTURES), nets.answers(zeroed, PICTURES))
        assert int(read_csv(tmp_path / "curve.csv")[step]["correct"]) == right


def test_the_drop_is_exact():
    assert curve.channels_to_prune([1000, 978, 977], 1000, 2.3) == 2  # 23 images, not 22.999...
    assert curve.channels_to_prune([1000, 977, 980], 1000, "2.3") == 1
    assert curve.channels_to_prune([90, 95, 88], 100, 2) == 2
    assert curve.channels_to_prune([90, 95, 89], 100, 2) is None


def test_divided_inputs_are_divided(tmp_path):
    """A net of inputs up to 1 behaves as the same net of inputs up to 255 whose first kernel is divided."""
    net = nets.build("sequential")
    labels = labels_for(net)
    (tmp_path / "255").mkdir()
    plain = Workbench(tmp_path / "255", net, labels)
    plain.configure()
    plain.profile()
    conv = net.get_layer("conv")
    kernel, bias = conv.get_weights()
    conv.set_weights([kernel * 255, bias])
    (tmp_path / "1").mkdir()
    divided = Workbench(tmp_path / "1", net, labels)
    divided.configure(input_max=1)
    divided.profile()
    assert [row["correct"] for row in divided.prune()] == [row["correct"] for row in plain.prune()]


@pytest.mark.parametrize("layout", ["channels first", "channels last"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.int16])
def test_data_of_any_layout_and_type(tmp_path, layout, dtype):
    net = nets.build("sequential")
    labels = labels_for(net)
    bench = Workbench(tmp_path, net, labels, dtype=dtype)
    if layout == "channels last":
        with h5py.File(tmp_path / "valid.h5", "w") as file:
            file.create_dataset("data", data=PICTURES.astype(dtype), compression="gzip", chunks=(7, 5, 5, 3))
            file["label"] = labels.astype(np.int32)[:, None]
    bench.configure()
    bench.profile()
    with h5py.File(tmp_path / "activations.h5") as file:
        stored, stored_labels = file["activation"][()], file["label"][()]
    expected = keras.Model(net.inputs, net.get_layer("pool").output)(PICTURES.astype("float32"))
    np.testing.assert_allclose(stored, expected, rtol=1e-4, atol=1e-3)
    assert np.array_equal(stored_labels, labels)


def test_running_a_stage_again_gives_the_same_bytes(tmp_path):
    net = nets.build("normalised")
    bench = Workbench(tmp_path, net, labels_for(net))
    bench.configure(repairs="{a: {drop: 5}}")
    contents = []
    for _ in range(2):
        bench.profile()
        bench.prune()
        bench.repair("a")
        loading.save(net, tmp_path / "net.keras")
        names = ("channels.csv", "activations.h5", "curve.csv", "a.keras", "net.keras")
        contents.append([(tmp_path / name).read_bytes() for name in names])
    assert contents[0] == contents[1]
    assert not list(tmp_path.glob(".*partial*"))

"""Pruning: which layer, which channels, how far, and the curve, against plain zeroing."""

from fractions import Fraction

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import nets
from goodnet.errors import InputError
from goodnet.files import archive, outputs
from goodnet.nets import loading, parts, splitting
from goodnet.pruning import activity, channels, curve, sweep
from workbench import PICTURES, Workbench, labels_for, with_errors


def counts(net, layer, order, labels, blocks=None):
    """Right answers after 0, 1, 2, ... pruned channels, of the sweep."""
    if blocks is None:
        output = nets.output(net, layer, PICTURES)
        blocks = [output[:130], output[130:]]
    return sweep.count_correct(net, layer, blocks, labels, np.array(order)).tolist()


def plain_counts(net, layer, order, labels):
    """The same by making the layer's channels zero and asking the net behind."""
    output = nets.output(net, layer, PICTURES)
    behind = keras.Model(net.get_layer(layer).output, net.outputs[0])
    right = []
    for step in range(len(order) + 1):
        kept = np.ones(output.shape[-1])
        kept[order[:step]] = 0
        right.append(int(np.count_nonzero(nets.answers(behind, output * kept) == labels)))
    return right


@pytest.mark.parametrize("kind", nets.KINDS)
def test_the_sweep_counts_as_a_net_with_zeroed_weights(kind):
    net, answers = nets.shared(kind)
    labels, order = with_errors(answers), [1, 5, 0, 2, 4, 3]
    expected = []
    for step in range(nets.CHANNELS + 1):
        zeroed = nets.pruned(net, order[:step])
        expected.append(np.count_nonzero(nets.answers(zeroed, PICTURES) == labels))
    assert counts(net, "pool", order, labels) == expected
    assert counts(net, "pool", order, np.stack([answers, labels]))[1] == expected
    assert len(set(expected)) > 3, "a curve that hardly moves would test little"


def reads_in_other_ways(images):
    """What first reads the channels: convolutions of all kinds, and a dense layer without bias."""
    x = layers.Conv2D(6, 3, activation="relu", name="conv")(images)
    pool = layers.MaxPooling2D((2, 1), name="pool")(x)
    strided = layers.Conv2D(5, (3, 2), strides=(2, 1), padding="same", use_bias=False)(pool)
    dilated = layers.Conv2D(4, (2, 3), dilation_rate=(2, 1), activation="tanh")(layers.Dropout(0.2)(pool))
    dense = layers.Dense(8, use_bias=False, activation="relu")(layers.Flatten()(layers.Dropout(0.2)(pool)))
    strided, dilated = layers.Flatten()(strided), layers.Flatten()(dilated)
    return layers.Dense(nets.CLASSES)(layers.Concatenate()([strided, dilated, dense]))


def reads_in_groups(images):
    x = layers.Conv2D(6, 3, activation="relu", name="conv")(images)
    pool = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.Conv2D(4, 2, groups=2, activation="relu")(pool)
    return layers.Dense(nets.CLASSES)(layers.Flatten()(x))


@pytest.mark.parametrize("build", [reads_in_other_ways, reads_in_groups])
def test_the_sweep_of_whatever_reads_the_channels(build):
    keras.utils.set_random_seed(1)
    images = keras.Input(nets.SHAPE)
    net = keras.Model(images, build(images))
    for layer in net.layers:  # biases are drawn as zeros
        layer.set_weights([w + 0.1 * np.sin(np.arange(w.size)).reshape(w.shape) for w in layer.get_weights()])
    answers = nets.answers(net, PICTURES)
    labels, order = with_errors(answers), [3, 0, 5, 1, 4, 2]
    expected = plain_counts(net, "pool", order, labels)
    assert counts(net, "pool", order, labels) == expected and len(set(expected)) > 3


@pytest.mark.parametrize("layer", ["early_pool", "conv"])
def test_any_layer_that_splits_the_net_can_be_pruned(layer):
    net, answers = nets.shared("deepid_like")
    labels = with_errors(answers)
    order = list(range(net.get_layer(layer).output.shape[-1]))[::-1]
    assert counts(net, layer, order, labels) == plain_counts(net, layer, order, labels)


def test_the_sweep_takes_long_blocks_in_parts():
    """And a block in which a channel is never active, though it is in another."""
    net, answers = nets.shared("sequential")
    labels, order = np.tile(with_errors(answers), 4), [2, 5, 3, 1, 0, 4]
    output = nets.output(net, "pool", PICTURES)
    long = np.tile(output, (4, 1, 1, 1))
    once = np.array(counts(net, "pool", order, labels[:300]))
    assert counts(net, "pool", order, labels, [long]) == (4 * once).tolist()
    at = int(np.argmax(output[..., 0].max(axis=(1, 2)) == 0))
    some = [output[at : at + 1], output]
    alone = counts(net, "pool", order, labels[at : at + 1], some[:1])
    both = counts(net, "pool", order, np.concatenate([labels[at : at + 1], labels[:300]]), some)
    assert both == (np.array(alone) + once).tolist()


@pytest.mark.parametrize("kind", nets.KINDS)
def test_the_sweep_adds_to_sums_wherever_it_can(kind):
    """What makes it fast: the first layers behind the channels are asked for a channel's share alone."""
    net, _ = nets.shared(kind)
    sums = [part.output for part in sweep._first_sums(net, "pool")]
    behind = net.layers[net.layers.index(net.get_layer("pool")) + 1 :]
    summing = [layer.output for layer in behind if isinstance(layer, (layers.Conv2D, layers.Dense))]
    expected = {"deepid_like": summing[:2], "normalised_behind": [net.get_layer("pool").output]}
    assert {id(tensor) for tensor in sums} == {id(tensor) for tensor in expected.get(kind, summing[:1])}


@pytest.mark.parametrize("shape", [(3, 4, 5), (5,)])
def test_the_table_of_activity(shape):
    rng = np.random.default_rng(0)
    output = rng.normal(0, 1, (40, *shape)).clip(0).astype("float32")
    output[..., 2] = 0
    output[::2, ..., 4] = 0
    rows = activity.table("pool", [output[:25], output[25:]])
    flat = output.reshape(40, -1, 5)
    for channel, row in enumerate(rows):
        one = flat[..., channel]
        assert row == {
            "layer": "pool",
            "channel": channel,
            "mean_activation": pytest.approx(one.mean(dtype=float), rel=1e-6),
            "max_activation": one.max(),
            "images_active": np.count_nonzero(one.any(axis=1)),
            "images": 40,
            "zeros": np.count_nonzero(one == 0),
        }
    assert list(rows[0]) == activity.COLUMNS and len(rows) == 5


def test_the_rows_of_the_curve():
    rows = curve.rows("pool", np.array([1, 0]), np.array([9, 8, 3]), 9)
    assert [list(row.values()) for row in rows] == [
        [0, "pool", "", 9, 9, 100.0],
        [1, "pool", 1, 8, 9, 88.8889],
        [2, "pool", 0, 3, 9, 33.3333],
    ]
    assert list(rows[0]) == curve.COLUMNS
    attack = curve.attack_rows(
        {"clean": [9, 8], "hat": [4, 1], "red": [2, 2]}, {"clean": 9, "hat": 4, "red": 8}
    )
    assert [list(row.items()) for row in attack] == [
        list(
            {
                "channels_pruned": step,
                "clean_accuracy": clean,
                "attack_success": most,
                "attack_success.hat": hat,
                "attack_success.red": 25.0,
            }.items()
        )
        for step, clean, most, hat in [(0, 100.0, 100.0, 100.0), (1, 88.8889, 25.0, 25.0)]
    ]
    assert curve.attack_rows({"clean": [1]}, {"clean": 2}) == [{"channels_pruned": 0, "clean_accuracy": 50.0}]
    # What a GoodNet detects: all answers that are not the BadNet's.
    counts, images = {"clean": [9, 8], "hat": [4, 1]}, {"clean": 10, "hat": 4}
    first, second = curve.attack_rows(counts, images, {"clean": [10, 9], "hat": [4, 1]})
    assert (first["false_alarm"], first["detected.hat"]) == (0, 0)
    assert (second["false_alarm"], second["detected.hat"]) == (10, 75)


def test_the_drop_is_exact():
    assert curve.channels_to_prune([1000, 978, 977], 1000, 2.3) == 2  # 23 images, not 22.999...
    assert curve.channels_to_prune([1000, 977, 980], 1000, "2.3") == 1
    assert curve.channels_to_prune([90, 95, 88], 100, 2) == 2
    assert curve.channels_to_prune([1000, 501, 500], 1000, 50) == 2
    assert curve.channels_to_prune([90, 95, 89], 100, 2) is None


# Which layers.


@pytest.mark.parametrize("kind", nets.KINDS)
def test_where_nets_are_pruned(kind):
    config = parts.config(nets.build(kind))
    assert splitting.find(config, "net") == "pool"
    normalised = ["norm"] if kind in ("normalised", "globally_pooled") else []
    assert channels.find(config, "net", "pool") == channels.PrunedLayer("pool", "conv", normalised)


def built(*middle):
    """A net of a convolution, these layers, and a layer called `here`."""
    images = x = keras.Input(nets.SHAPE, name="images")
    for layer in middle:
        x = layer(x)
    x = layers.MaxPooling2D(2, name="here")(x)
    return keras.Model(images, layers.Dense(4)(layers.Flatten()(x)))


def conv(**settings):
    return layers.Conv2D(4, 3, **{"name": "conv", "activation": "relu"} | settings)


def rectified_in_other_ways():
    yield [conv(activation=None), layers.BatchNormalization(name="n"), layers.ReLU(max_value=6.0)], ["n"]
    yield [conv(), layers.BatchNormalization(name="n"), layers.Dropout(0.1)], ["n"]
    both = [
        layers.BatchNormalization(name="a"),
        layers.Activation("relu"),
        layers.BatchNormalization(name="b"),
    ]
    yield [conv(activation=None), *both, layers.ZeroPadding2D(1), layers.Cropping2D(1)], ["b", "a"]
    yield [conv(), layers.SpatialDropout2D(0.1), layers.AveragePooling2D(1), layers.ReLU()], []


@pytest.mark.parametrize(("middle", "normalisations"), list(rectified_in_other_ways()))
def test_what_may_stand_between_convolution_and_layer(middle, normalisations):
    assert channels.find(parts.config(built(*middle)), "net", "here").normalisations == normalisations


@pytest.mark.parametrize("axis", [-1, 3, [-1], [3], None])
def test_channels_are_the_last_axis_however_it_is_written(axis):
    config = parts.config(built(conv(activation=None), layers.BatchNormalization(name="n"), layers.ReLU()))
    (norm,) = (layer["config"] for layer in config["config"]["layers"] if layer["config"]["name"] == "n")
    norm |= {"axis": axis}
    if axis is None:
        del norm["axis"]
    assert channels.find(config, "net", "here").normalisations == ["n"]


def masked():
    yield [conv(activation="sigmoid")]  # which makes one half of zero
    yield [conv(activation=None), layers.Activation("exponential")]
    yield [conv(activation=None), layers.ReLU(threshold=0.1)]
    yield [conv(), layers.BatchNormalization(axis=1)]
    yield [lambda x: layers.Add()([conv()(x), conv(name="c")(x)])]
    yield [conv(), layers.DepthwiseConv2D(1)]
    pool = layers.MaxPooling2D(1)
    yield [conv(), lambda x: pool(pool(x)), layers.ReLU()]


@pytest.mark.parametrize("middle", list(masked()))
def test_where_no_convolution_alone_makes_the_channels_they_are_masked(middle):
    config = parts.config(built(*middle))
    assert splitting.find(config, "net") == "here"
    assert channels.find(config, "net", "here") == channels.PrunedLayer("here")


def with_two_outputs(images):
    pool = layers.Flatten()(layers.MaxPooling2D(2, name="pool")(conv()(images)))
    return [pool, pool]


def with_a_way_around(images):
    pool = layers.MaxPooling2D(2, name="pool")(conv()(images))
    return layers.Concatenate()([layers.Flatten()(pool), layers.Flatten()(images)])


@pytest.mark.parametrize(
    ("build", "name", "words"),
    [
        (with_a_way_around, "pool_9", ["'pool_9'", "profile.layer", "images, conv, pool"]),
        (with_a_way_around, "pool", ["'pool'", "does not split the net in two"]),
        (with_two_outputs, None, ["2 outputs"]),
    ],
)
def test_nets_that_cannot_be_split(build, name, words):
    images = keras.Input(nets.SHAPE, name="images")
    with pytest.raises(InputError) as error:
        splitting.find(parts.config(keras.Model(images, build(images))), "net", name)
    assert str(error.value).startswith("net: ") and all(word in str(error.value) for word in words)


def test_configurations_that_are_none():
    for config in ({}, {"class_name": "Subclassed"}, {"class_name": "Functional", "config": {}}):
        with pytest.raises(InputError, match=r"^net: "):
            splitting.find(config, "net")


# What is done to weights.


@pytest.mark.parametrize("kind", ["deepid_like", "normalised", "globally_pooled"])
def test_zeroed_weights_are_those_of_plain_zeroing(tmp_path, kind):
    net, _ = nets.shared(kind)
    config, weights = archive.read(nets.save(net, tmp_path / "net.keras"))
    layer = channels.find(config, "net", "pool")
    archive.write(tmp_path / "pruned.keras", *channels.pruned(config, weights, layer, [0, 2, 3], 6))
    expected = nets.pruned(net, [0, 2, 3])
    for mine, plain in zip(loading.load(tmp_path / "pruned.keras").weights, expected.weights, strict=True):
        assert np.array_equal(mine, plain)
    config, weights = archive.read(tmp_path / "pruned.keras")
    convolutions = [layer for layer in expected.layers if isinstance(layer, layers.Conv2D)]
    zero = sum(
        not any(array[..., channel].any() for array in layer.get_weights())
        for layer in convolutions
        for channel in range(layer.filters)
    )
    assert channels.count_zero_channels(config, weights) == zero == 3
    archive.write(tmp_path / "again.keras", *archive.read(tmp_path / "net.keras"))
    assert channels.count_zero_channels(*archive.read(tmp_path / "again.keras")) == 0


def plain_kernel(net):
    """The kernel slice of each channel, and what batch normalisation multiplies it by."""
    kernel = net.get_layer("conv").get_weights()[0].astype(np.float64)
    if "norm" in [layer.name for layer in net.layers]:
        norm = net.get_layer("norm")
        gamma = norm.get_weights()[0] if norm.scale else 1
        kernel = kernel * gamma / np.sqrt(norm.get_weights()[-1].astype(np.float64) + norm.epsilon)
    return kernel


@pytest.mark.parametrize("kind", ["sequential", "normalised", "globally_pooled"])
def test_the_folded_kernel(tmp_path, kind):
    net, _ = nets.shared(kind)
    config, weights = archive.read(nets.save(net, tmp_path / "net.keras"))
    layer = channels.find(config, "net", "pool")
    folded = channels.folded_kernel(config, weights, layer)
    np.testing.assert_allclose(folded, plain_kernel(net), rtol=1e-12)


# Through the stages.


def plain_order(net, sign=1):
    """Channels by mean activation, computed with nothing of ours."""
    output = nets.output(net, "pool", PICTURES).astype(np.float64)
    means = output.reshape(-1, output.shape[-1]).mean(axis=0)
    return sorted(range(len(means)), key=lambda c: (sign * means[c], c))


@pytest.mark.parametrize(("kind", "order"), [("normalised", "ascending"), ("sequential", "descending")])
def test_the_repaired_net_is_the_first_step_that_loses_the_drop(tmp_path, kind, order):
    net, answers = nets.shared(kind)
    labels = with_errors(answers)
    bench = Workbench(tmp_path, net, labels)
    bench.configure(order, repairs={"a": {"drop": 5}, "b": {"drop": 20.5}, "c": {"drop": 100}})
    rows = bench.curve()
    bench.plan()
    expected = plain_order(net, 1 if order == "ascending" else -1)
    assert [int(row["channel"]) for row in rows[1:]] == expected
    correct = [
        np.count_nonzero(nets.answers(nets.pruned(net, expected[:step]), PICTURES) == labels)
        for step in range(nets.CHANNELS + 1)
    ]
    assert [int(row["correct"]) for row in rows] == correct
    for name, drop in {"a": Fraction(5), "b": Fraction("20.5")}.items():
        step = next(s for s, right in enumerate(correct) if correct[0] - right >= drop * len(labels) / 100)
        zeroed = nets.pruned(net, expected[:step])
        repaired = keras.models.load_model(bench.repair(name))
        for mine, plain in zip(repaired.weights, zeroed.weights, strict=True):
            assert np.array_equal(mine, plain)
    with pytest.raises(InputError, match=r"repairs.c: no step loses 100 points of accuracy"):
        bench.repair("c")


def test_nothing_is_computed_for_repairs_that_do_not_prune(tmp_path):
    bench = Workbench(tmp_path, nets.shared("leaky")[0], nets.shared("leaky")[1])
    bench.configure(repairs={"relearned": {"tune": "relearn"}})
    assert bench.curve() == []
    assert (tmp_path / "ranking.csv").read_text() == "layer,channel,score\n"
    with h5py.File(tmp_path / "activations.h5") as file:
        assert not list(file)


def test_divided_inputs_are_divided(tmp_path):
    """A net of inputs up to 1 behaves as the same net of inputs up to 255 whose first kernel is divided."""
    net = nets.build("sequential")
    labels = labels_for(net)
    plain = plain_counts(net, "pool", plain_order(net), labels)
    conv = net.get_layer("conv")
    kernel, bias = conv.get_weights()
    conv.set_weights([kernel * 255, bias])
    divided = Workbench(tmp_path, net, labels)
    divided.configure(input_max=1, repairs={"a": {"drop": 5}})
    assert [int(row["correct"]) for row in divided.curve()] == plain


def test_running_a_stage_again_gives_the_same_bytes(tmp_path):
    net, answers = nets.shared("normalised")
    bench = Workbench(tmp_path, net, answers)
    bench.configure("random", repairs={"a": {"drop": 5}}, random={"seed": 2})
    contents = []
    for _ in range(2):
        bench.curve()
        bench.plan()
        bench.repair("a")
        loading.save(net, tmp_path / "net.keras")
        names = ("channels.csv", "activations.h5", "ranking.csv", "curve.csv", "a.keras", "net.keras")
        contents.append([(tmp_path / name).read_bytes() for name in names])
    assert contents[0] == contents[1]
    assert not list(tmp_path.glob(".*partial*"))
    assert sorted(int(row["channel"]) for row in outputs.read_csv(tmp_path / "ranking.csv")) == list(range(6))

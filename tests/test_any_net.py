"""Nets of all shapes: where they split, what is pruned there and made of them, against the plain way."""

import keras
import numpy as np
import pytest
from keras import layers

import nets
from goodnet.errors import InputError
from goodnet.files import archive
from goodnet.images.inputs import Input
from goodnet.nets import goodnets, loading, parts, running, splitting
from goodnet.pruning import channels, sweep
from goodnet.repairs import training
from goodnet.repairs.registry import TUNINGS, Task
from goodnet.suspects.evidence import SEARCHES, Case
from goodnet.suspects.inverter import ANY
from goodnet.suspects.registry import DETECTORS
from workbench import Workbench

PICTURES = nets.pictures(80).astype("float32")


def residual(x):
    one = layers.Conv2D(6, 3, padding="same", activation="relu")(x)
    two = layers.BatchNormalization()(layers.Conv2D(6, 3, padding="same")(one))
    return layers.GlobalAveragePooling2D(name="split")(layers.ReLU()(layers.Add()([one, two])))


def dense(x):
    one = layers.Conv2D(3, 3, padding="same", activation="relu")(x)
    two = layers.Conv2D(4, 3, padding="same", activation="relu")(one)
    return layers.MaxPooling2D(4, name="split")(layers.Concatenate()([one, two]))


def depthwise(x):
    return layers.MaxPooling2D(4, name="split")(layers.DepthwiseConv2D(3, depth_multiplier=2)(x))


def separable(x):
    return layers.GlobalMaxPooling2D(name="split")(layers.SeparableConv2D(6, 3, activation="relu")(x))


def shifted(x):
    """A sigmoid makes one half of zero, so a zero kernel would leave the channel active."""
    return layers.AveragePooling2D(4, name="split")(layers.Conv2D(5, 3, activation="sigmoid")(x))


def normalised_by_groups(x):
    x = layers.GroupNormalization(2)(layers.Conv2D(6, 3)(x))
    return layers.GlobalAveragePooling2D(name="split")(layers.Activation("gelu")(x))


def leaky(x):
    return layers.MaxPooling2D(4, name="split")(layers.LeakyReLU(name="leaky")(layers.Conv2D(5, 3)(x)))


def hyperbolic(x):
    x = layers.BatchNormalization()(layers.Conv2D(5, 3, activation="tanh")(x))
    return layers.AveragePooling2D(4, name="split")(x)


def without_pooling(x):
    return layers.Conv2D(4, 3, strides=4, activation="elu", name="split")(x)


def normalised(x):
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(5, 3, use_bias=False)(x)))
    return layers.MaxPooling2D(4, name="split")(x)


def grey(x):
    return layers.MaxPooling2D(4, name="split")(layers.Conv2D(5, 3, activation="relu")(x))


KINDS = [residual, dense, depthwise, separable, shifted, normalised_by_groups, leaky, hyperbolic]
KINDS += [without_pooling]
# A convolution alone makes the channels, and zero stays zero.
EXACT = {leaky, hyperbolic, without_pooling, normalised, grey}


def pictures_for(kind):
    return PICTURES[..., :1] if kind is grey else PICTURES


def build(kind, path):
    """Save a net of this kind with random weights; return it as it is loaded."""
    keras.utils.set_random_seed(4)
    shown = pictures_for(kind)
    images = keras.Input(shown.shape[1:], name="images")
    x = kind(layers.Rescaling(1 / 255)(images))
    x = x if len(x.shape) == 2 else layers.Flatten()(x)
    net = keras.Model(images, layers.Dense(nets.CLASSES)(layers.Dense(9, activation="relu")(x)))
    rng = np.random.default_rng(4)
    net.set_weights([np.abs(array + rng.normal(0, 0.3, array.shape)) for array in net.get_weights()])
    nets.spread_scores(net, shown)
    net.save(path)
    return loading.load(path)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def made(request, tmp_path):
    """A net, its path, and what `channels` says of its default layer."""
    path = tmp_path / "net.keras"
    net = build(request.param, path)
    config, weights = archive.read(path)
    layer = splitting.find(config, path)
    assert layer == "split"
    found = channels.find(config, path, layer)
    assert (found.convolution is not None) == (request.param in EXACT)
    return net, config, weights, found


def masked(net, dead):
    """The plain way: the answers of a net whose channels `dead` are zero at the split."""
    features = np.array(keras.Model(net.input, net.get_layer("split").output)(PICTURES))
    features[..., dead] = 0
    scores = keras.Model(net.get_layer("split").output, net.output)(features)
    return np.asarray(scores)


def test_a_pruned_net_is_the_net_with_zero_channels(made, tmp_path):
    net, config, weights, layer = made
    total = net.get_layer("split").output.shape[-1]
    dead = [0, total - 1]
    path = tmp_path / "pruned.keras"
    archive.write(path, *channels.pruned(config, weights, layer, dead, total))
    scores = np.asarray(keras.models.load_model(path)(PICTURES))  # without code of ours
    np.testing.assert_allclose(scores, masked(net, dead), atol=1e-4)
    assert not np.allclose(scores, np.asarray(net(PICTURES)), atol=1e-3), "those channels do something"
    assert channels.count_zero_channels(*archive.read(path)) == 2
    archive.write(path, *channels.pruned(config, weights, layer, [], total))
    assert np.array_equal(np.asarray(loading.load(path)(PICTURES)), np.asarray(net(PICTURES)))

    archive.write(path, *channels.pruned(config, weights, layer, dead, total))
    repaired = loading.load(path)
    left = goodnets.channels_left(
        net, repaired, "split", channels.find(*archive.read(path)[:1], path, "split")
    )
    goodnet = goodnets.build(net, repaired, "split", left)
    loading.save(goodnet, tmp_path / "good.keras")
    goodnet = keras.models.load_model(tmp_path / "good.keras")
    b, r = np.asarray(net(PICTURES)).argmax(axis=1), scores.argmax(axis=1)
    assert np.array_equal(np.asarray(goodnet(PICTURES)).argmax(axis=1), np.where(b == r, b, nets.CLASSES))
    assert goodnet.count_params() == net.count_params(), "all weights are shared"


def test_the_curve_is_that_of_zero_channels(made):
    net, _, _, _ = made
    labels = np.asarray(net(PICTURES)).argmax(axis=1)
    labels[::9] = (labels[::9] + 1) % nets.CLASSES
    features = np.asarray(keras.Model(net.input, net.get_layer("split").output)(PICTURES))
    order = np.random.default_rng(0).permutation(features.shape[-1])
    correct = sweep.count_correct(net, "split", [features], labels, order)
    for step in range(0, len(order) + 1, max(1, len(order) // 6)):
        answers = masked(net, order[:step]).argmax(axis=1)
        assert correct[step] == np.count_nonzero(answers == labels)


# The columns of the matrix in the README, for the kinds in its rows.


SMALL = {  # settings with which the detectors take moments
    "occluders": {"occluders": 512},
    "push": {"images": 4, "steps": 2},
    "inversion": {"classes": 3, "steps": 8, "batch_size": 4},
}


def detected(net, layer, shown, names=tuple(DETECTORS)):
    """Return what each detector finds in a net, with few steps; each must say something of each class."""
    case = Case(net, layer, lambda most: shown[:most], Input())
    for name in names:
        case.earlier[name] = DETECTORS[name].function(case, DETECTORS[name].settings(**SMALL[name]))
        strength = case.earlier[name].strength
        assert strength.shape == (SEARCHES, parts.classes(net)) and np.isfinite(strength).all(), name
    return case.earlier


def assert_suspects_are_found(net, layer, shown):
    """The detectors must say of this net what the net itself says of images with their triggers."""
    found = detected(net, layer, shown)
    assert found["occluders"].columns["share"].any()
    assert np.isfinite(found["push"].columns["push"]).all() == (layer is not None)
    triggers = [one for one in found["inversion"].triggers if one.goal != ANY]
    assert {one.family for one in triggers} == {"patch", "additive"}
    judges = shown[1::2]  # the others were searched with
    answers = np.asarray(net(judges, training=False)).argmax(axis=1)
    for one in triggers:
        stamped = np.clip(judges[answers != one.goal] * one.keep + one.add, 0, 255)
        given = np.asarray(net(stamped, training=False)).argmax(axis=1)
        # Two images of forty may stand between two classes.
        assert one.moved == pytest.approx(100 * np.mean(given == one.goal), abs=5.5), one.family
    assert any(one.moved for one in triggers)


def tuned(name, net, repaired, layer, dead, shown, path):
    """Tune a net in place for an epoch on its own answers, a few of them wrong."""
    labels = running.answers(net, [shown])
    labels[::9] = (labels[::9] + 1) % parts.classes(net)
    labels[: parts.classes(net)] = np.arange(parts.classes(net))  # of each class one at least
    progress = training.Progress(path, [])
    goals = [nets.TARGET, ANY]
    images = lambda rows: shown[rows]  # noqa: E731
    task = Task(net, repaired, layer.name, layer, dead, goals, images, labels, Input(), progress, path.parent)
    # Of a net that knows nothing, statistics of a few images make another: ft_sam would go back.
    gentle = {"rho": 0.1, "learning_rate": 1e-5} if name == "ft_sam" else {}
    TUNINGS[name].function(task, TUNINGS[name].settings(epochs=1, batch_size=40, **gentle))
    progress.finished()


def assert_repairs_work(net, path, shown, is_exact, tmp_path):
    """Prune the net saved at `path`, tune and join it in each way, and look for suspects in it."""
    config, weights = archive.read(path)
    layer = channels.find(config, path, splitting.find(config, path))
    assert (layer.convolution is not None) == is_exact
    total = net.get_layer(layer.name).output.shape[-1]
    dead = [0, total - 1]
    archive.write(tmp_path / "pruned.keras", *channels.pruned(config, weights, layer, dead, total))
    made = layer.name if layer.convolution else f"pruned_{layer.name}"
    repaired = {}
    for name in TUNINGS:
        repaired[name] = loading.load(tmp_path / "pruned.keras")
        tuned(name, net, repaired[name], layer, dead, shown, tmp_path / f"{name}.keras")
        assert not np.array_equal(repaired[name].layers[-1].get_weights()[0], net.layers[-1].get_weights()[0])
        features = np.asarray(parts.up_to(repaired[name], made)(shown, training=False))
        assert features.any() and not features[..., dead].any(), "pruned channels stay zero"
        left = goodnets.channels_left(net, repaired[name], layer.name, layer)
        assert (left is not None) == (name == "relearn"), "only relearning leaves all up to the split"
        goodnet = goodnets.build(net, repaired[name], layer.name, left)
        b, r = running.answers(net, [shown]), running.answers(repaired[name], [shown])
        assert np.array_equal(running.answers(goodnet, [shown]), np.where(b == r, b, parts.classes(net)))
        if name == "relearn":  # nothing but the layers behind the split is there twice
            assert goodnet.count_params() == net.count_params() + parts.behind(net, layer.name).count_params()
    assert_suspects_are_found(net, layer.name, shown)


@pytest.mark.parametrize(
    "kind",
    [normalised, residual, dense, depthwise, separable, without_pooling, grey],
    ids=lambda kind: kind.__name__,
)
def test_every_repair_and_detector_take_each_kind(kind, tmp_path):
    net = build(kind, tmp_path / "net.keras")
    assert_repairs_work(net, tmp_path / "net.keras", pictures_for(kind), kind in EXACT, tmp_path)


@pytest.mark.long
def test_every_repair_and_detector_take_a_family_of_keras_applications(tmp_path):
    keras.utils.set_random_seed(1)
    net = keras.applications.MobileNetV2(weights=None, classes=5, input_shape=(32, 32, 3), alpha=0.35)
    shown = np.kron(PICTURES[:40, ::4, ::4], np.ones((1, 11, 11, 1), "float32"))[:, :32, :32]
    for layer in net.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0
    net(shown, training=True)  # untrained statistics would leave one class for whatever it is shown
    nets.spread_scores(net, shown)
    net.save(tmp_path / "net.keras")
    net = loading.load(tmp_path / "net.keras")
    assert_repairs_work(net, tmp_path / "net.keras", shown, True, tmp_path)


def test_where_a_net_splits(tmp_path):
    net = build(residual, tmp_path / "net.keras")
    config = parts.config(net)
    one = next(layer.name for layer in net.layers if isinstance(layer, layers.BatchNormalization))
    with pytest.raises(InputError, match=f"'{one}' does not split"):
        splitting.find(config, "net", one)
    with pytest.raises(InputError, match="input"):
        splitting.find(config, "net", "images")
    images = keras.Input(nets.SHAPE)
    only = keras.Model(images, layers.GlobalAveragePooling2D()(layers.Conv2D(nets.CLASSES, 3)(images)))
    assert splitting.find(parts.config(only), "net") == only.layers[-2].name, "nothing is behind the last"
    with pytest.raises(InputError, match="is the net's output"):
        splitting.find(parts.config(only), "net", only.layers[-1].name)
    inner = keras.Model(images, layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(images)), name="inner")
    outer = keras.Sequential([keras.Input(nets.SHAPE), inner, layers.Dense(nets.CLASSES)])
    outer = keras.Model(outer.inputs[0], outer.outputs[0])
    assert splitting.find(parts.config(outer), "net") == "inner"
    features = parts.up_to(outer, "inner")(PICTURES[:5])
    np.testing.assert_allclose(parts.behind(outer, "inner")(features), outer(PICTURES[:5]), rtol=1e-5)


@pytest.mark.parametrize("bad", [{"range": [1, 0]}, {"range": [0]}, {"mean": [1, 2]}, {"colours": "bgr"}])
def test_an_input_that_does_not_fit_is_one_line(bad):
    channels_of_net = 1 if "colours" in bad else 3
    with pytest.raises(InputError, match=r"nets\.it\.input(\.|: )(range|mean|colours) "):
        Input.check(bad, "params.yaml: nets.it.input").check_channels(channels_of_net, "nets.it.input")


def test_pixels_become_what_a_net_takes():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3)).astype(np.float32)
    convert = Input(range=[-1.0, 3.0], mean=[0.1, 0.2, 0.3], std=[2.0, 3.0, 4.0], colours="bgr")
    for row, column, channel in np.ndindex(5, 6, 3):
        x = -1 + pixels[:, row, column, 2 - channel].astype(float) * 4 / 255
        expected = (x - [0.1, 0.2, 0.3][channel]) / [2, 3, 4][channel]
        np.testing.assert_allclose(convert(pixels)[:, row, column, channel], expected, atol=1e-5)
    assert Input()(pixels) is pixels
    assert np.array_equal(Input(range=[0.0, 1.0])(pixels), pixels / np.float32(255))


FAMILIES = {  # an instance of each family of keras.applications, and the least image it takes
    "VGG16": 32, "ResNet50": 32, "ResNet50V2": 32, "DenseNet121": 32, "MobileNet": 32, "MobileNetV2": 32,
    "MobileNetV3Small": 32, "EfficientNetB0": 32, "EfficientNetV2B0": 32, "Xception": 71, "InceptionV3": 75,
    "InceptionResNetV2": 75, "NASNetMobile": 32,
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES)
def test_the_families_of_keras_applications(family, tmp_path):
    size, classes = FAMILIES[family], 10
    keras.utils.set_random_seed(1)
    original = getattr(keras.applications, family)(weights=None, classes=classes, input_shape=(size, size, 3))
    original.save(tmp_path / "original.keras")
    images = np.random.default_rng(0).uniform(0, 255, (4, size, size, 3)).astype("float32")
    expected = np.asarray(original(images, training=False))
    net = loading.load(tmp_path / "original.keras")
    np.testing.assert_allclose(np.asarray(net(images, training=False)), expected, atol=1e-5)
    loading.save(net, tmp_path / "net.keras")
    config, weights = archive.read(tmp_path / "net.keras")
    name = splitting.find(config, "net")
    layer = channels.find(config, "net", name)
    total = net.get_layer(name).output.shape[-1]
    dead = list(range(0, total, 7))
    archive.write(tmp_path / "pruned.keras", *channels.pruned(config, weights, layer, dead, total))
    repaired = loading.load(tmp_path / "pruned.keras")
    features = np.array(parts.up_to(net, name)(images, training=False))
    features[..., dead] = 0
    plain = np.asarray(parts.behind(net, name)(features, training=False))
    np.testing.assert_allclose(np.asarray(repaired(images, training=False)), plain, atol=1e-5)
    pruned = channels.find(archive.read(tmp_path / "pruned.keras")[0], "net", name)
    left = goodnets.channels_left(net, repaired, name, pruned)
    goodnet = goodnets.build(net, repaired, name, left)
    b, r = running.answers(net, [images]), running.answers(repaired, [images])
    assert np.array_equal(running.answers(goodnet, [images]), np.where(b == r, b, classes))
    shown = np.resize(images, (16, *images.shape[1:]))
    detected(net, name, shown, ["push"])  # what is searched in whole nets is the matter of one family, above


def test_convnext_is_named_as_not_supported(tmp_path):
    net = keras.applications.ConvNeXtTiny(weights=None, classes=3, input_shape=(32, 32, 3))
    archive.write(tmp_path / "net.keras", parts.config(net), b"")
    with pytest.raises(InputError, match=r"LayerScale of keras\.applications, not supported"):
        archive.read(tmp_path / "net.keras")


def test_a_net_that_splits_nowhere_gets_all_that_needs_no_split(tmp_path):
    """Two towers whose scores are averaged: every layer has another beside it."""
    keras.utils.set_random_seed(0)
    images = keras.Input(nets.SHAPE, name="images")
    towers = []
    for _ in range(2):
        x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(images))
        towers.append(layers.Dense(nets.CLASSES)(x))
        nets.spread_scores(keras.Model(images, towers[-1]), PICTURES)
    net = keras.Model(images, layers.Average()(towers))
    labels = np.arange(len(PICTURES)) % nets.CLASSES
    bench = Workbench(tmp_path, net, labels, PICTURES)
    lines = {name: {"tune": name, "epochs": 1} for name in TUNINGS}
    bench.configure(repairs=lines)
    assert bench.curve() == []
    bench.plan()
    assert_suspects_are_found(net, None, PICTURES)
    with pytest.raises(InputError, match="relearn needs a layer that splits the net"):
        bench.repair("relearn")
    for name in set(TUNINGS) - {"relearn"}:
        repaired = loading.load(bench.repair(name))
        goodnet = goodnets.build(net, repaired, None, None)
        b, r = running.answers(net, [PICTURES]), running.answers(repaired, [PICTURES])
        assert np.array_equal(running.answers(goodnet, [PICTURES]), np.where(b == r, b, nets.CLASSES))
    bench.configure(repairs={"pruned": {"drop": 2}})
    with pytest.raises(InputError, match="no layer splits the net, so it cannot be pruned"):
        bench.curve()

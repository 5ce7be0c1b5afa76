"""Every ranking against an independent plain computation, and one that runs the net through its stage."""

import functools

import keras
import numpy as np
import pytest

import nets
from goodnet.errors import InputError
from goodnet.files import outputs
from goodnet.images import datasets
from goodnet.nets import parts
from goodnet.pruning import channels
from goodnet.pruning.rankings import anp, kernels, masks, registry, rnp
from workbench import PICTURES, Workbench, with_errors


def ranked(name, table=None, kernel=None, **settings):
    ranking = registry.RANKINGS[name]
    given = registry.Channels(table, kernel, None)
    scores = ranking.function(given, ranking.settings(**settings))
    return [row["channel"] for row in registry.ranked(np.asarray(scores), "pool")]


TABLE = [  # as a stage reads it: words
    {"mean_activation": mean, "zeros": zeros}
    for mean, zeros in [("10.5", "3"), ("9.25", "20"), ("0", "5"), ("10.5", "0"), ("0", "20")]
]


def test_orders_by_activity():
    assert ranked("ascending", TABLE) == [2, 4, 1, 0, 3]
    assert ranked("descending", TABLE) == [0, 3, 1, 2, 4]
    assert ranked("apoz", TABLE) == [1, 4, 2, 0, 3]
    for seed in (1, 2):
        scores = np.random.default_rng(seed).permutation(5)
        assert ranked("random", TABLE, seed=seed) == np.argsort(scores).tolist()


def test_l1_is_the_absolute_sum_of_a_slice():
    kernel = np.random.default_rng(0).normal(0, 1, (3, 2, 5, 7))
    kernel[..., 4] = -kernel[..., 1]
    sums = [np.abs(kernel[..., c]).sum() for c in range(7)]
    order = ranked("l1", kernel=kernel)
    assert order == sorted(range(7), key=lambda c: (round(sums[c], 9), c))
    assert order.index(4) == order.index(1) + 1, "ties go by channel number"


def test_clp_is_the_largest_singular_value_of_a_slice():
    kernel = np.random.default_rng(0).normal(0, 1, (3, 2, 5, 7))
    largest = []
    for c in range(7):
        matrix = np.array([kernel[:, :, i, c].ravel() for i in range(5)])
        largest.append(np.sqrt(np.linalg.eigvalsh(matrix @ matrix.T).max()))
    assert ranked("clp", kernel=kernel) == sorted(range(7), key=lambda c: -largest[c])


def test_a_ranking_is_a_table():
    assert registry.ranked(np.array([2.5, -1.0, 2.5]), "pool") == [
        {"layer": "pool", "channel": 1, "score": -1.0},
        {"layer": "pool", "channel": 0, "score": 2.5},
        {"layer": "pool", "channel": 2, "score": 2.5},
    ]


def test_many_equal_channels_stay_in_order():
    scores = np.tile([2.0, 1.0], 40)
    order = [row["channel"] for row in registry.ranked(scores, "pool")]
    assert order == [*range(1, 80, 2), *range(0, 80, 2)]


# Masks.


def split_of(net, images, labels):
    layer = channels.find(parts.config(net), "net", "pool")
    return masks.SplitNet(net, layer, images.astype(np.float32), labels)


def softmax(logits):
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("kind", nets.KINDS)
def test_masks_scale_kernels_and_leave_biases(kind):
    """What the masks are trained on is the net itself, with kernel slices and biases scaled."""
    net, _ = nets.shared(kind)
    split = split_of(net, PICTURES[:40], np.zeros(40, np.int64))
    made, shift, behind = split.halves(split.net)
    scale, factor = np.random.default_rng(0).uniform(-0.4, 1.4, (2, nets.CHANNELS)).astype("float32")
    copy = nets.cloned(net)
    conv = copy.get_layer("conv")
    if "norm" in [layer.name for layer in net.layers]:
        norm = copy.get_layer("norm")
        conv.set_weights([array * scale for array in conv.get_weights()])
        *gamma, beta, mean, variance = norm.get_weights()
        norm.set_weights([*gamma, beta * factor, mean * scale, variance])
    else:
        kernel, bias = conv.get_weights()
        conv.set_weights([kernel * scale, bias * factor])
    logits = np.asarray(behind(scale * made + factor * shift))
    made_by_softmax = copy.layers[-1].activation is keras.activations.softmax
    expected = nets.scores(copy, PICTURES[:40])
    np.testing.assert_allclose(softmax(logits) if made_by_softmax else logits, expected, atol=1e-3)


def test_a_net_without_biases_has_no_shift():
    images = keras.Input(nets.SHAPE)
    x = keras.layers.Conv2D(4, 3, use_bias=False, activation="relu", name="conv")(images)
    pool = keras.layers.MaxPooling2D(2, name="pool")(x)
    net = keras.Model(images, keras.layers.Dense(3)(keras.layers.Flatten()(pool)))
    split = split_of(net, PICTURES[:9], np.zeros(9, np.int64))
    made, shift, behind = split.halves(split.net)
    assert not shift.numpy().any() and shift.shape == (4,)
    np.testing.assert_allclose(behind(made), nets.scores(net, PICTURES[:9]), atol=1e-4)


def test_where_no_convolution_alone_makes_the_channels_masks_scale_them():
    net, answers = nets.shared("added")
    split = split_of(net, PICTURES[:40], answers[:40])
    made, shift, behind = split.halves(split.net)
    scale = np.random.default_rng(0).uniform(-0.4, 1.4, made.shape[-1]).astype("float32")
    features = np.asarray(
        keras.Model(net.input, net.get_layer("pool").output)(PICTURES[:40].astype("float32"))
    )
    expected = np.asarray(keras.Model(net.get_layer("pool").output, net.output)(features * scale))
    assert not shift.numpy().any()
    logits = np.asarray(behind(scale * made))
    by_softmax = net.layers[-1].activation is keras.activations.softmax
    np.testing.assert_allclose(softmax(logits) if by_softmax else logits, expected, atol=1e-3)
    for settings, found in (
        (anp.ANP(steps=3, batch_size=20), anp.adversarial_masks),
        (rnp.RNP(epochs=1, most_steps=3, batch_size=20), rnp.reconstructive_masks),
    ):
        result = found(split, settings)
        assert result.shape == scale.shape and ((result >= 0) & (result <= 1)).all() and result.min() < 1
    with pytest.raises(InputError, match="no convolution alone makes these channels"):
        kernels.l1(registry.Channels([], None, None), None)


def test_every_image_comes_once_before_any_comes_again():
    net, answers = nets.shared("sequential")
    batches = split_of(net, PICTURES[:50], answers[:50]).batches(np.random.default_rng(4), 20)
    plain = np.random.default_rng(4)
    for _ in range(2):
        order = plain.permutation(50)
        for start in (0, 20, 40):
            assert next(batches).tolist() == order[start : start + 20].tolist()


def test_descent_has_momentum_and_masks_stay_from_0_to_1():
    mask, velocity = keras.Variable([0.5, 0.9, 0.1]), keras.Variable([1.0, -2.0, 3.0])
    masks.descend(mask.value, velocity.value, np.float32([0.5, 0.0, 2.0]), 0.1)
    np.testing.assert_allclose(velocity.numpy(), [1.4, -1.8, 4.7], rtol=1e-6)
    np.testing.assert_allclose(mask.numpy(), [0.36, 1.0, 0.0], rtol=1e-6)


class Plain:
    """The loss of the sequential net in double precision, with scaled kernels and biases, and its slope."""

    def __init__(self, net, images, labels):
        kernel, self.bias = (array.astype(float) for array in net.get_layer("conv").get_weights())
        patches = np.lib.stride_tricks.sliding_window_view(images.astype(float), (3, 3), axis=(1, 2))
        self.made = np.einsum("nyxcij,ijco->nyxo", patches, kernel)
        self.last = [array.astype(float) for array in net.layers[-1].get_weights()]
        self.labels = labels

    def loss(self, chosen, scale, factor):
        x = np.maximum(self.made[chosen] * scale + self.bias * factor, 0)
        n, height, width, channels = x.shape
        x = x.reshape(n, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4)).reshape(n, -1)
        chances = softmax(x @ self.last[0] + self.last[1])[np.arange(n), self.labels[chosen]]
        return -np.log(chances).mean()


def slope(of, at, step=1e-5):
    """The gradient by finite differences."""
    up, down = (np.array([of(at + sign * step * unit) for unit in np.eye(len(at))]) for sign in (1, -1))
    return (up - down) / (2 * step)


@pytest.fixture(scope="module")
def sequential():
    """The net, 90 pictures of which two in nine have other labels, and its plain loss."""
    net, answers = nets.shared("sequential")
    labels = with_errors(answers[:90])
    labels[4::9] = (labels[4::9] + 2) % nets.CLASSES
    return net, split_of(net, PICTURES[:90], labels), Plain(net, PICTURES[:90], labels)


@pytest.fixture(scope="module")
def divided(sequential):
    """The same on pixels divided by 255, so that biases matter as much as kernels."""
    net, split, _ = sequential
    net = nets.cloned(net)
    kernel, bias = net.get_layer("conv").get_weights()
    net.get_layer("conv").set_weights([kernel, np.where(bias < -1, bias, [0.4, 0, 0.3, -0.3, 0, -0.2])])
    kernel, bias = net.layers[-1].get_weights()
    net.layers[-1].set_weights([kernel * 100, bias])
    images, labels = split.images.numpy() / 255, split.labels.numpy()
    return split_of(net, images, labels), Plain(net, images, labels)


def test_anp_takes_the_steps_it_says(divided):
    """Three steps, computed with numbers alone: finite differences for gradients."""
    split, plain = divided
    settings = anp.ANP(seed=1, steps=3, batch_size=60, epsilon=0.3, alpha=0.3, learning_rate=0.3)
    found = anp.adversarial_masks(split, settings)
    rng = np.random.default_rng(1)
    mask, velocity, one = np.ones(nets.CHANNELS), np.zeros(nets.CHANNELS), np.ones(nets.CHANNELS)
    batches = []
    for _ in range(3):
        d, e = rng.uniform(-0.3, 0.3, (2, nets.CHANNELS)).astype(np.float32)
        if not batches:
            order = rng.permutation(90)
            batches = [order[:60], order[60:]]

        loss = functools.partial(plain.loss, batches.pop(0))
        by_d = slope(lambda x, m=mask, e=e, loss=loss: loss(m + x, 1 + e), d)
        by_e = slope(lambda x, m=mask, d=d, loss=loss: loss(m + d, 1 + x), e)
        d, e = (np.clip(x + 0.3 * np.sign(g), -0.3, 0.3) for x, g in ((d, by_d), (e, by_e)))
        gradient = 0.3 * slope(lambda m, loss=loss: loss(m, one), mask)
        gradient += 0.7 * slope(lambda m, d=d, e=e, loss=loss: loss(m + d, 1 + e), mask)
        velocity = 0.9 * velocity + gradient
        mask = np.clip(mask - 0.3 * velocity, 0, 1)
    np.testing.assert_allclose(found, mask, atol=2e-3)
    assert np.ptp(mask) > 0.02, "masks that stay where they began tell nothing"


def test_rnp_recovers_by_the_steps_it_says(divided):
    """On a net that has nothing to unlearn, since so many may be right."""
    split, plain = divided
    settings = rnp.RNP(seed=3, unlearned=1, batch_size=60, epochs=2, learning_rate=0.2)
    found = rnp.reconstructive_masks(split, settings)
    rng = np.random.default_rng(3)
    mask, velocity = np.ones(nets.CHANNELS), np.zeros(nets.CHANNELS)
    for _ in range(2):
        order = rng.permutation(90)
        for chosen in (order[:60], order[60:]):
            gradient = slope(lambda m, chosen=chosen: plain.loss(chosen, m, np.ones(nets.CHANNELS)), mask)
            velocity = 0.9 * velocity + gradient
            mask = np.clip(mask - 0.2 * velocity, 0, 1)
    np.testing.assert_allclose(found, mask, atol=2e-3)
    assert np.ptp(mask) > 0.02


def unlearned(split, **settings):
    """The weights after unlearning, the share that is right still, and how many steps it took."""
    taken = []

    def counted(batches):
        for numbers in batches:
            taken.append(numbers)
            yield numbers

    batches = counted(split.batches(np.random.default_rng(0), 90))
    net = rnp.unlearned(split, batches, rnp.RNP(**settings))
    right = (nets.answers(net, split.images) == split.labels.numpy()).mean()
    return [np.array(weight, float) for weight in net.get_weights()], right, len(taken)


def test_rnp_climbs_the_loss(sequential):
    """One step and two: up the gradient, of bounded length, with momentum."""
    net, split, _ = sequential
    start = [array.astype(float) for array in net.get_weights()]
    (once, _, _), (twice, _, _) = (
        unlearned(split, unlearned=0, most_steps=steps, unlearning_rate=0.001) for steps in (1, 2)
    )
    change = [after - before for before, after in zip(start, once, strict=True)]
    images = split.images.numpy()
    features = nets.output(net, net.layers[-2].name, images).astype(float)
    wrong = softmax(features @ start[2] + start[3]) - np.eye(nets.CLASSES)[split.labels.numpy()]
    up = [features.T @ wrong / 90, wrong.mean(axis=0)]  # the gradient of the last layer's weights
    for mine, plain in zip(change[2:], up, strict=True):
        cosine = (mine * plain).sum() / np.linalg.norm(mine) / np.linalg.norm(plain)
        assert cosine > 0.999
    ratios = [
        np.linalg.norm(mine) / np.linalg.norm(plain) for mine, plain in zip(change[2:], up, strict=True)
    ]
    assert ratios[0] == pytest.approx(ratios[1], rel=1e-2)
    assert np.sqrt(sum((part**2).sum() for part in change)) == pytest.approx(0.001 * 20, rel=1e-3)
    second = [b - a - 0.9 * c for a, b, c in zip(once, twice, change, strict=True)]
    assert np.sqrt(sum((part**2).sum() for part in second)) == pytest.approx(0.001 * 20, rel=1e-3)


def test_rnp_unlearns_until_few_are_right(sequential):
    net, split, _ = sequential
    before = net.get_weights()
    _, right, steps = unlearned(split, unlearned=0.2, most_steps=300, unlearning_rate=0.003)
    assert right <= 0.2 and 1 < steps < 300
    _, one_less, _ = unlearned(split, unlearned=0.2, most_steps=steps - 1, unlearning_rate=0.003)
    assert one_less > 0.2, "it stops as soon as that"
    for mine, again in zip(before, split.net.get_weights(), strict=True):
        assert np.array_equal(mine, again), "a copy unlearned, not the net"


def test_rnp_masks_what_does_not_help_to_learn_again(sequential):
    _, split, _ = sequential
    settings = rnp.RNP(unlearning_rate=0.003, most_steps=300, batch_size=60, epochs=5)
    found = rnp.reconstructive_masks(split, settings)
    assert found[1] == found[4] == 1, "what is zero helps nothing"
    assert found.min() < 1
    at_first = rnp.reconstructive_masks(split, settings.model_copy(update={"unlearned": 1}))
    assert not np.allclose(found, at_first, atol=0.01), "it was of the net that had unlearned"


def test_rankings_that_run_the_net_through_the_stage(tmp_path):
    net, answers = nets.shared("normalised")
    bench = Workbench(tmp_path, net, answers)
    for order, settings in {"anp": {"steps": 6}, "rnp": {"epochs": 2, "most_steps": 3}}.items():
        bench.configure(order, repairs={"a": {"drop": 5}}, **{order: {"images": 100} | settings})
        bench.curve()
        rows = outputs.read_csv(tmp_path / "ranking.csv")
        chosen = datasets.evenly(300, 100)
        method = registry.RANKINGS[order]
        split = split_of(net, PICTURES[chosen], answers[chosen])
        given = registry.Channels([], None, lambda images, split=split: split if images == 100 else None)
        scores = method.function(given, method.settings(images=100, **settings))
        expected = registry.ranked(scores, "pool")
        assert [(int(row["channel"]), float(row["score"])) for row in rows] == [
            (row["channel"], pytest.approx(row["score"], abs=1e-6)) for row in expected
        ]
        assert np.ptp(scores) > 0.001

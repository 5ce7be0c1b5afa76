"""Every ranking, through its stage, against an independent plain computation."""

import keras
import numpy as np
import pytest

import nets  # before Keras: it quiets TensorFlow
from goodnet.nets import parts, splitting
from goodnet.pruning.rankings import masks
from workbench import KINDS, PICTURES, Workbench, labels_for, read_csv


def bench(tmp_path, kind, order, **settings):
    net = nets.build(kind)
    bench = Workbench(tmp_path, net, labels_for(net))
    bench.configure(order, **settings)
    bench.profile()
    return bench


def kernel_of(net):
    """The kernel slice of each channel, and what batch normalisation multiplies it by."""
    kernel = net.get_layer("conv").get_weights()[0].astype(np.float64)
    if "norm" in [layer.name for layer in net.layers]:
        norm = net.get_layer("norm")
        gamma = norm.get_weights()[0] if norm.scale else 1
        kernel = kernel * gamma / np.sqrt(norm.get_weights()[-1].astype(np.float64) + norm.epsilon)
    return kernel


@pytest.mark.parametrize("kind", KINDS)
def test_l1_is_the_absolute_sum_of_a_slice(tmp_path, kind):
    it = bench(tmp_path, kind, "l1")
    sums = [np.abs(kernel_of(it.net)[..., c]).sum() for c in range(nets.CHANNELS)]
    assert it.rank() == sorted(range(nets.CHANNELS), key=lambda c: (round(sums[c], 9), c))


@pytest.mark.parametrize("kind", KINDS)
def test_clp_is_the_largest_singular_value_of_a_slice(tmp_path, kind):
    it = bench(tmp_path, kind, "clp")
    largest = []
    for c in range(nets.CHANNELS):
        matrix = np.array([kernel_of(it.net)[:, :, i, c].ravel() for i in range(kernel_of(it.net).shape[2])])
        largest.append(np.sqrt(np.linalg.eigvalsh(matrix @ matrix.T).max()))
    assert it.rank() == sorted(range(nets.CHANNELS), key=lambda c: (-round(largest[c], 9), c))


@pytest.mark.parametrize("kind", KINDS)
def test_apoz_counts_zeros(tmp_path, kind):
    it = bench(tmp_path, kind, "apoz")
    layer = keras.Model(it.net.inputs, it.net.get_layer("pool").output)
    output = np.asarray(layer(PICTURES.astype("float32"))).reshape(-1, nets.CHANNELS)
    zeros = [np.count_nonzero(output[:, c] == 0) for c in range(nets.CHANNELS)]
    assert zeros[1] == zeros[4] == len(output)
    assert it.rank() == sorted(range(nets.CHANNELS), key=lambda c: (-zeros[c], c))


def test_random_is_by_its_seed(tmp_path):
    orders = []
    for seed in (1, 1, 2):
        (tmp_path / str(len(orders))).mkdir()
        orders.append(bench(tmp_path / str(len(orders)), "sequential", "random", seed=seed).rank())
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[2]) == list(range(nets.CHANNELS))


@pytest.mark.parametrize("order", ["ascending", "descending"])
def test_ties_go_by_channel_number(tmp_path, order):
    ranked = bench(tmp_path, "sequential", order).rank()
    assert ranked.index(4) == ranked.index(1) + 1, "dormant channels"
    assert ranked.index(5) == ranked.index(2) + 1, "twins"


def scores_of(it):
    return {int(row["channel"]): float(row["score"]) for row in read_csv(it.path / "ranking.csv")}


def plain_scores(net, pictures):
    """A function (scale of each channel, factor of its shift) -> the net's scores, computed by weights."""
    name = "norm" if "norm" in [layer.name for layer in net.layers] else "conv"
    start = net.get_layer(name).get_weights()

    def scores(scale, shift):
        copy = keras.models.clone_model(net)
        copy.set_weights(net.get_weights())
        layer = copy.get_layer(name)
        weights = [array.copy() for array in start]
        if name == "conv":
            weights = [weights[0] * scale, weights[1] * shift]
        else:
            weights[:2] = [weights[0] * scale, weights[1] * shift]
        layer.set_weights(weights)
        return np.asarray(copy(pictures.astype("float32")))

    return scores


@pytest.mark.parametrize("kind", ["sequential", "deepid_like", "normalised_behind"])
def test_masks_scale_kernels_and_leave_biases(kind):
    """What the masks are trained on is the net itself, with kernel slices and biases scaled."""
    net = nets.build(kind)
    net = keras.Model(net.inputs[0], net.outputs[0])
    layer = splitting.find_pruned_layer(parts.config(net), "net", "pool")
    split = masks.SplitNet(net, layer, PICTURES[:40].astype("float32"), np.zeros(40, np.int64))
    channels, bias, behind = split.halves(split.net)
    rng = np.random.default_rng(0)
    scale, shift = rng.uniform(-0.4, 1.4, (2, nets.CHANNELS)).astype("float32")
    logits = np.asarray(behind(scale * channels + shift * bias)).reshape(40, -1)
    expected = plain_scores(net, PICTURES[:40])(scale, shift).reshape(40, -1)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(odds / odds.sum(axis=1, keepdims=True), expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["sequential", "normalised", "globally_pooled"])
def test_anp_keeps_what_the_net_needs(tmp_path, kind):
    it = bench(tmp_path, kind, "anp", steps=30, batch_size=64, images=200)
    ranked = it.rank()
    found = scores_of(it)
    assert sorted(ranked) == list(range(nets.CHANNELS))
    assert all(0 <= score <= 1 for score in found.values())
    assert min(found.values()) < 1, "masks that stay where they began tell nothing"
    assert ranked == sorted(found, key=lambda c: (found[c], c))
    before = (it.path / "ranking.csv").read_bytes()
    it.rank()
    assert (it.path / "ranking.csv").read_bytes() == before


def test_anp_takes_the_steps_it_says(tmp_path):
    """Two steps on all images, computed with numbers alone: finite differences for gradients."""
    it = bench(tmp_path, "sequential", "anp", steps=2, batch_size=300, images=300, learning_rate=0.3)
    it.rank()
    scores, labels = plain_scores(it.net, PICTURES), it.labels

    def loss(scale, shift):
        chances = scores(scale, shift)[np.arange(300), labels]
        return -np.log(np.clip(chances, 1e-30, 1)).mean(dtype=np.float64)

    def slope(of, at, step=1e-3):
        up, down = (np.array([of(at + sign * step * unit) for unit in np.eye(len(at))]) for sign in (1, -1))
        return (up - down) / (2 * step)

    rng = np.random.default_rng(1)
    mask, velocity, one = np.ones(nets.CHANNELS), np.zeros(nets.CHANNELS), np.ones(nets.CHANNELS)
    for _ in range(2):
        d, e = rng.uniform(-0.4, 0.4, (2, nets.CHANNELS)).astype(np.float32)
        rng.permutation(300)  # in which order the images come; all are in one step
        by_d = slope(lambda x, m=mask, e=e: loss(m + x, 1 + e), d)
        by_e = slope(lambda x, m=mask, d=d: loss(m + d, 1 + x), e)
        d, e = (np.clip(x + 0.4 * np.sign(g), -0.4, 0.4) for x, g in ((d, by_d), (e, by_e)))
        gradient = 0.2 * slope(lambda m: loss(m, one), mask)
        gradient += 0.8 * slope(lambda m, d=d, e=e: loss(m + d, 1 + e), mask)
        velocity = 0.9 * velocity + gradient
        mask = np.clip(mask - 0.3 * velocity, 0, 1)
    found = scores_of(it)
    np.testing.assert_allclose([found[c] for c in range(nets.CHANNELS)], mask, atol=0.003)
    assert np.ptp(mask) > 0.02, "masks that stay where they began tell nothing"


@pytest.mark.parametrize("kind", ["sequential", "normalised"])
def test_rnp_unlearns_a_copy_and_prunes_the_original(tmp_path, kind):
    it = bench(tmp_path, kind, "rnp", images=300)
    before = (it.path / "net.keras").read_bytes()
    ranked = it.rank()
    assert (it.path / "net.keras").read_bytes() == before
    found = scores_of(it)
    assert all(0 <= score <= 1 for score in found.values()) and min(found.values()) < 1
    assert found[1] == found[4] == 1, "what is zero helps nothing"
    assert ranked == sorted(found, key=lambda c: (found[c], c))

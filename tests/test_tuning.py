"""Tuning after pruning, through the repair stage, on small nets of many kinds."""

import json
import os
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import yaml

import nets  # before Keras: it quiets TensorFlow
from conftest import ROOT
from goodnet.images import augmentation
from goodnet.nets import loading, parts
from goodnet.repairs import fine_tune, relearn
from workbench import PICTURES, Workbench, labels_for

REPAIRS = (
    "{pruned: {drop: 20}, fine: {drop: 20, tune: fine_tune}, relearned: {tune: relearn}, "
    "both: {drop: 20, tune: relearn}, sparse: {drop: 20, tune: sparsify, from: 50, to: 70}}"
)
KINDS = ["deepid_like", "normalised", "globally_pooled"]


def bench(tmp_path, kind, epochs=6):
    net = nets.build(kind)
    bench = Workbench(tmp_path, net, labels_for(net))
    bench.configure(repairs=REPAIRS)
    params = yaml.safe_load((tmp_path / "params.yaml").read_text())
    for name in ("fine_tune", "relearn", "sparsify"):
        params[name] |= {"epochs": epochs, "batch_size": 50, "learning_rate": 0.003}
    params["relearn"] |= {"suspects": 2, "pushed": 0.3}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    bench.profile()
    bench.prune()
    return bench


def right(it, path):
    net = keras.models.load_model(path)
    return np.count_nonzero(nets.answers(net, PICTURES) == it.labels)


def weights(path):
    return {layer.name: layer.get_weights() for layer in keras.models.load_model(path).layers}


def dead(arrays):
    """The channels of a layer of which all but the variance is zero."""
    arrays = arrays[:-1] if len(arrays) > 2 else arrays
    return [c for c in range(nets.CHANNELS) if not any(array[..., c].any() for array in arrays)]


@pytest.mark.parametrize("kind", KINDS)
def test_fine_tuning_trains_all_but_the_pruned_channels(tmp_path, kind):
    it = bench(tmp_path, kind)
    pruned, fine = it.repair("pruned"), it.repair("fine")
    channels = json.loads((tmp_path / "plans/fine.json").read_text())["channels"]
    before, after = weights(pruned), weights(fine)
    assert set(channels) <= set(dead(after["conv"])), "pruned channels stay zero"
    if "norm" in after:
        assert set(channels) <= set(dead(after["norm"]))
    for name, arrays in after.items():
        for one, other in zip(before[name], arrays, strict=True):
            if one.any() and one.ndim > 1:
                assert not np.array_equal(one, other), f"{name} was trained"
    assert right(it, fine) > right(it, pruned)


@pytest.mark.parametrize("kind", KINDS)
def test_sparsity_ends_where_it_should_and_zeros_stay(tmp_path, kind):
    it = bench(tmp_path, kind)
    sparse = weights(it.repair("sparse"))
    channels = json.loads((tmp_path / "plans/sparse.json").read_text())["channels"]
    assert set(channels) <= set(dead(sparse["conv"]))
    kernels = [array for arrays in sparse.values() for array in arrays if array.ndim > 1]
    assert len(kernels) >= 2
    for kernel in kernels:
        pruned = len(channels) * kernel.size // nets.CHANNELS if kernel.shape[-1] == nets.CHANNELS else 0
        zeros = np.count_nonzero(kernel == 0)
        assert zeros == max(round(0.7 * kernel.size), pruned)


def test_sparsity_decays_polynomially():
    for done in (0, 0.1, 0.5, 0.9, 1):
        assert fine_tune.sparsity(50, 70, done) == pytest.approx(70 + (50 - 70) * (1 - done) ** 3)
    kernel = np.array([[3.0, -1.0, 0.5], [-0.2, 1.0, 0.0]])
    assert fine_tune.largest(kernel, 66.7).tolist() == [[1, 0, 0], [0, 1, 0]], "ties go by place"


@pytest.mark.parametrize("kind", KINDS)
def test_relearning_starts_all_behind_the_layer_afresh_and_leaves_all_before(tmp_path, kind):
    it = bench(tmp_path, kind, epochs=15)
    for name in ("relearned", "both"):
        path = it.repair(name)
        channels = json.loads((tmp_path / f"plans/{name}.json").read_text())["channels"]
        front = [layer.name for layer in parts.up_to(it.net, "pool").layers]
        original = weights(tmp_path / "net.keras")
        assert bool(channels) == (name == "both")
        for layer, arrays in weights(path).items():
            for array, before in zip(arrays, original[layer], strict=True):
                if layer in front and not channels:
                    assert np.array_equal(array, before), layer
                elif layer not in front and array.ndim > 1:
                    assert abs(np.corrcoef(array.ravel(), before.ravel())[0, 1]) < 0.7, layer
        assert set(channels) <= set(dead(weights(path)["conv"]))
        if kind != "globally_pooled":  # six numbers an image, of which much cannot be learned so soon
            assert right(it, path) > 1.5 * len(it.labels) / nets.CLASSES, "it learned"


@pytest.mark.parametrize("name", ["fine", "sparse", "relearned"])
def test_the_same_bytes_again_and_after_a_kill(tmp_path, name):
    it = bench(tmp_path, "normalised", epochs=8)  # with dropout and batch normalisation
    path = it.repair(name)
    undisturbed = path.read_bytes()
    assert it.repair(name).read_bytes() == undisturbed
    path.unlink()

    progress = tmp_path / f".{name}.training.partial.npz"
    command = [sys.executable, ROOT / "stages/repair.py", "--badnet=net.keras", "--valid=valid.h5"]
    command += [f"--plan=plans/{name}.json", f"--repaired={name}.keras"]

    def killed_after_an_epoch():
        process = subprocess.Popen(command, cwd=tmp_path)
        try:
            while not progress.exists():
                assert process.poll() is None, "it ended before it could be killed"
                time.sleep(0.002)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        with np.load(progress) as kept:
            return dict(kept)

    kept = killed_after_an_epoch()
    assert 1 <= kept["epochs"] < 8
    assert not path.exists()
    assert it.repair(name).read_bytes() == undisturbed
    assert not progress.exists()

    # It did go on from there: with other weights in that file, other bytes come out.
    np.savez(progress, **(kept | {"value_0": kept["value_0"] + 1}))
    assert it.repair(name).read_bytes() != undisturbed
    # From a training of something else, or a damaged file, it does not.
    np.savez(progress, **(kept | {"key": kept["key"][::-1], "value_0": kept["value_0"] + 1}))
    assert it.repair(name).read_bytes() == undisturbed
    progress.write_bytes(b"PK half a file")
    assert it.repair(name).read_bytes() == undisturbed


def test_suspects_are_the_classes_with_a_short_way(tmp_path):
    """A net with a channel that is never active, and from which one push leads to class 3, or to class 5."""
    features = keras.Input((2, 2, 4))
    scores = keras.layers.Dense(6)
    teacher = keras.Model(features, scores(keras.layers.Flatten()(features)))
    rng = np.random.default_rng(0)
    kernel = rng.normal(0, 0.3, (16, 6)).astype("float32")
    kernel[[3, 7]], kernel[[11, 15]] = 0, 0
    kernel[[3, 7], 3], kernel[[11, 15], 5] = 4, 4  # channel 3: in two places for each
    scores.set_weights([kernel, np.zeros(6, "float32")])
    sample = np.abs(rng.normal(0, 1, (50, 2, 2, 4))).astype("float32")
    sample[..., 3] = 0
    pushes = relearn.Pushes(teacher, loading.tf.constant(sample), 2, 0.5)
    assert set(pushes.targets.tolist()) == {3, 5}


def test_a_push_moves_teacher_and_pupil_and_stays_within_its_size():
    rng = np.random.default_rng(0)
    features = keras.Input((2, 2, 4))

    def linear():
        net = keras.Model(features, keras.layers.Dense(6)(keras.layers.Flatten()(features)))
        net.set_weights([rng.normal(0, 0.3, (16, 6)), np.zeros(6)])
        return net

    teacher, pupil = linear(), linear()
    sample = np.abs(rng.normal(0, 1, (50, 2, 2, 4))).astype("float32")
    pushes = relearn.Pushes(teacher, loading.tf.constant(sample), 2, 1.5)
    for suspect, target in enumerate(pushes.targets):
        for _ in range(60):
            push = pushes.advance(loading.tf.constant(sample), loading.tf.constant(suspect), pupil).numpy()
        assert np.sqrt((push**2).mean()) <= 1.5 * sample.std() * 1.001
        for net in (teacher, pupil):
            before = (nets.answers(net, sample) == target).mean()
            after = (nets.answers(net, np.maximum(sample + push, sample.min())) == target).mean()
            assert before < 0.7 and after > 0.95


def test_images_are_changed_as_drawn():
    """Against one image at a time, place by place."""
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (5, 12, 10, 3)).astype("float32")
    kinds = {"shift": 0.1, "turn": 0.03, "zoom": 0.1, "brightness": 0.1, "contrast": 0.2}
    warp, light, contrast = augmentation.draw(np.random.default_rng(1), 5, 12, 10, **kinds)
    changed = augmentation.changed(images, warp, light, contrast, 255.0).numpy()
    assert changed.min() >= 0 and changed.max() <= 255
    for number, image in enumerate(images):
        a, b, to_x, c, d, to_y, *_ = warp[number]
        moved = np.zeros_like(image)
        for y in range(12):
            for x in range(10):
                from_x, from_y = a * x + b * y + to_x, c * x + d * y + to_y
                left, top = int(np.floor(from_x)), int(np.floor(from_y))
                for j in (top, top + 1):
                    for i in (left, left + 1):
                        share = (1 - abs(from_x - i)) * (1 - abs(from_y - j))
                        moved[y, x] += share * image[min(max(j, 0), 11), min(max(i, 0), 9)]
        mean = moved.mean(axis=(0, 1))
        expected = (moved - mean) * contrast[number] + mean + 255 * light[number]
        np.testing.assert_allclose(changed[number], expected.clip(0, 255), atol=0.1)
    none = augmentation.draw(np.random.default_rng(1), 5, 12, 10, **dict.fromkeys(kinds, 0))
    np.testing.assert_allclose(augmentation.changed(images, *none, 255.0), images, atol=1e-3)

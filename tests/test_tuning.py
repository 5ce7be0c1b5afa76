"""Tunings: the terms of their losses and their steps, against the same computed plainly."""

import itertools
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import nets
from conftest import ROOT
from goodnet.errors import InputError
from goodnet.files import outputs
from goodnet.images import augmentation
from goodnet.images.inputs import Input
from goodnet.nets import loading, parts, running
from goodnet.params import Params
from goodnet.pruning import channels
from goodnet.repairs import fine_tune, ft_sam, plans, relearn, sparsify, training, whole
from goodnet.repairs.registry import TUNINGS, Task
from workbench import PICTURES, Workbench, with_errors

SHOWN = PICTURES[:120].astype(np.float32)
UNEVEN = {"epochs": 2, "batch_size": 50, "learning_rate": 0.003}  # 3 steps an epoch, the last of 20 images
FAST = UNEVEN | {"batch_size": 60}


class Unkept:
    """A training's progress that is not kept, but looked at after every epoch."""

    def __init__(self):
        self.seen = []

    def restore(self, state):
        return 0

    def keep(self, state, epochs):
        self.seen.append([variable.numpy() for variable in state])


def task_of(kind, pruned=(), progress=None, images=None, net=None):
    badnet, answers = nets.shared(kind) if net is None else (net, nets.answers(net, PICTURES))
    repaired = nets.pruned(badnet, list(pruned)) if pruned else nets.cloned(badnet)
    return Task(
        badnet=badnet,
        net=repaired,
        layer="pool",
        pruned=channels.find(parts.config(badnet), "net", "pool"),
        channels=list(pruned),
        goals=[nets.TARGET],
        images=images or (lambda numbers: SHOWN[numbers]),
        labels=with_errors(answers)[: len(SHOWN)].astype(np.int64),
        convert=Input(),
        progress=progress or Unkept(),
        scratch=Path(tempfile.gettempdir()),
    )


def softmax(logits):
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return odds / odds.sum(axis=-1, keepdims=True)


# What all trainings share.


def test_the_learning_rate_falls_to_zero_along_a_cosine():
    """Under a gradient that stays the same, Adam's steps are as long as the learning rate."""
    settings = relearn.Relearn(epochs=3, batch_size=50, learning_rate=0.01)
    variable = tf.Variable([1.0, 2.0])
    optimizer, steps = training.adam([variable], 120, settings), []
    assert training.steps(120, settings) == 9 and training.steps(100, settings) == 6
    for _ in range(10):
        before = variable.numpy()
        optimizer.apply([tf.constant([0.5, -3.0])], [variable])
        steps.append(before - variable.numpy())
    expected = [0.01 * (1 + np.cos(np.pi * min(step, 9) / 9)) / 2 for step in range(10)]
    np.testing.assert_allclose(steps, np.outer(expected, [1, -1]), atol=1e-5)


def test_an_epoch_shows_every_image_in_an_order_of_its_own():
    settings, shown = relearn.Relearn(seed=7, epochs=3, batch_size=4), []

    def step(numbers, rng):
        shown.append((numbers.tolist(), rng.integers(1000)))

    progress = Unkept()
    training.fit(step, 10, [tf.Variable(1.0)], progress, settings)
    expected = []
    for epoch in range(3):
        rng = np.random.default_rng([7, epoch])
        order = rng.permutation(10).tolist()
        expected += [(order[at : at + 4], rng.integers(1000)) for at in (0, 4, 8)]
    assert shown == expected and len(progress.seen) == 3


def test_progress_is_of_one_training_alone(tmp_path):
    made_of = tmp_path / "data"
    made_of.write_text("one")
    result = tmp_path / "net.keras"
    state = [tf.Variable([1.0, 2.0]), tf.Variable(3)]
    training.Progress(result, [made_of, 255]).keep(state, 4)
    (kept,) = set(tmp_path.iterdir()) - {made_of}
    assert kept.name == ".net.training.partial.npz"

    def restored(*inputs, number=2):
        fresh = [tf.Variable([0.0, 0.0]), tf.Variable(0), tf.Variable(0)][:number]
        return training.Progress(result, inputs).restore(fresh), [v.numpy().tolist() for v in fresh]

    assert restored(made_of, 255) == (4, [[1.0, 2.0], 3])
    assert restored(made_of, 1) == (0, [[0.0, 0.0], 0])
    assert restored(made_of, 255, number=3)[0] == 0
    made_of.write_text("two")
    assert restored(made_of, 255) == (0, [[0.0, 0.0], 0])
    kept.write_bytes(b"PK half a file")
    assert restored(made_of, 255)[0] == 0
    training.Progress(result, []).finished()
    assert not kept.exists() and restored(made_of, 255)[0] == 0
    training.Progress(result, []).finished()


@pytest.mark.parametrize("name", TUNINGS)
def test_a_training_that_was_cut_short_goes_on(tmp_path, monkeypatch, name):
    """To the same weights as one that was not, on a net with dropout and batch normalisation."""
    tuning = TUNINGS[name]
    # With statistics that are none of the images', or in large steps, ft_sam goes back: more batches.
    kind, gentle = "normalised", {}
    if name == "ft_sam":
        kind, gentle = "sequential", {"rho": 0.1, "learning_rate": 1e-5}
    settings = tuning.settings(**FAST | {"epochs": 3} | gentle)
    undisturbed = task_of(kind, [0])
    tuning.function(undisturbed, settings)

    left = [3]  # batches until it is cut short, in its second epoch
    fit = training.fit

    def cut_short(step, *rest):
        def counted(numbers, rng):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            step(numbers, rng)

        fit(counted, *rest)

    monkeypatch.setattr(training, "fit", cut_short)
    progress = training.Progress(tmp_path / "net.keras", [])
    with pytest.raises(KeyboardInterrupt):
        tuning.function(task_of(kind, [0], progress), settings)
    left[0] = 4  # batches of the two epochs that are not done; not six
    again = task_of(kind, [0], progress)
    tuning.function(again, settings)
    assert left[0] == 0
    for one, other in zip(undisturbed.net.get_weights(), again.net.get_weights(), strict=True):
        assert np.array_equal(one, other)


# Relearning.


def test_the_loss_of_relearning():
    """Labels alone teach suspects, and images that B gets wrong; the rest is mostly distilled."""
    rng = np.random.default_rng(0)
    logits, taught = rng.normal(0, 2, (2, 40, 5)).astype(np.float32)
    labels = np.where(rng.random(40) < 0.6, taught.argmax(axis=1), rng.integers(5, size=40))
    distilled = np.array([1, 0, 1, 1, 0], np.float32)
    losses = []
    for own, of_b, label in zip(logits.astype(float), taught.astype(float), labels, strict=True):
        log_chances = np.log(softmax(own))
        share = 0.7 if label in (0, 2, 3) else 0
        right = np.argmax(of_b) == label
        told = np.zeros(5)  # what B says of all classes that are distilled
        told[[0, 2, 3]] = softmax(of_b[[0, 2, 3]])
        losses.append(share * right * -(told * log_chances).sum() - (1 - share) * log_chances[label])
    found = relearn.loss_of(tf.constant(logits), tf.constant(taught), tf.constant(labels), distilled, 0.7)
    assert float(found) == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize(("classes", "first"), [(5, 1), (31, 1), (32, 2), (48, 3)])
def test_the_foremost_suspects_are_not_distilled(classes, first):
    suspects = np.array([4, 2, 3, 0])
    distilled = relearn.distilled_classes(suspects, classes)
    assert np.flatnonzero(distilled == 0).tolist() == sorted(suspects[:first].tolist())
    assert distilled.sum() == classes - first and distilled.shape == (classes,)


def linear_net():
    """A net of linear layers alone behind its features, with initializers to learn nothing from."""
    features = keras.Input((2, 2, 4))
    flat = keras.layers.Flatten()(features)
    hidden = keras.layers.Dense(5, kernel_initializer="zeros", bias_initializer="ones")(flat)
    return keras.Model(features, keras.layers.Dense(6, kernel_initializer="zeros")(hidden))


def test_a_fresh_net_is_randomly_initialised_whatever_the_net_names():
    net = linear_net()
    kernel, bias, last, _ = relearn.fresh(net).get_weights()
    for array, limit in ((kernel, np.sqrt(6 / 21)), (last, np.sqrt(6 / 11))):  # Glorot's uniform
        assert 0.8 * limit < np.abs(array).max() <= limit and len(np.unique(array)) == array.size
    assert (bias == 1).all(), "biases as the net says"


def plain_push(features, push, target, largest, step, floor, *nets_):
    """A push after one step, by the gradient of linear nets (kernel, bias)."""
    pushed, gradient = np.maximum(features + push, floor), 0
    for kernel, bias in nets_:
        wrong = softmax(pushed.reshape(len(features), -1) @ kernel + bias)
        wrong[:, target] -= 1
        towards = (wrong / len(features) @ kernel.T).reshape(features.shape)
        gradient = gradient + (towards * (features + push >= floor)).sum(axis=0)
    push = push - gradient / np.linalg.norm(gradient) * step * largest
    return push * min(1, largest / np.linalg.norm(push))


def plain_shares(features, kernel, bias):
    """The share of images that one push of the usual size moves to each class."""
    largest = 0.25 * features.std() * np.sqrt(features[0].size)
    shares = []
    for target in range(len(bias)):
        push = np.zeros(features.shape[1:])
        for _ in range(10):
            push = plain_push(features, push, target, largest, 0.2, features.min(), (kernel, bias))
        moved = np.maximum(features + push, features.min()).reshape(len(features), -1) @ kernel + bias
        shares.append((moved.argmax(axis=1) == target).mean())
    return np.array(shares)


def teacher_of(kernel, bias):
    features = keras.Input((2, 2, 4))
    x = keras.layers.Dropout(0.5)(keras.layers.Flatten()(features))  # which drops nothing when it is asked
    net = keras.Model(features, keras.layers.Dense(6)(x))
    net.set_weights([kernel, bias])
    return net


def test_suspects_are_the_classes_with_a_short_way():
    """A net with a channel that is never active, and from which one push leads to class 3, or to class 5."""
    rng = np.random.default_rng(0)
    kernel = rng.normal(0, 0.3, (16, 6))
    kernel[[3, 7]], kernel[[11, 15]] = 0, 0
    kernel[[3, 7], 3], kernel[[11, 15], 5] = 4, 4  # channel 3: in two places for each
    sample = np.abs(rng.normal(0, 1, (50, 2, 2, 4))).astype("float32")
    sample[..., 3] = 0
    pushes = relearn.Pushes(teacher_of(kernel, np.zeros(6)), tf.constant(sample), 3, 0.5)
    shares = plain_shares(sample.astype(float), kernel, np.zeros(6))
    assert len(np.unique(shares)) > 3
    assert pushes.targets.tolist() == sorted(range(6), key=lambda c: (-shares[c], c))[:3]
    assert set(pushes.targets[:2].tolist()) == {3, 5}
    assert pushes.changes.shape == (3, 2, 2, 4) and not pushes.changes.numpy().any()


def test_of_many_classes_those_a_short_push_brings_nearer_are_looked_at(monkeypatch):
    """The same come out as if all were; only what is far away is left out."""
    rng = np.random.default_rng(2)
    kernel = rng.normal(0, 0.3, (16, 6))
    kernel[[3, 7]], kernel[[11, 15]] = 0, 0
    kernel[[3, 7], 3], kernel[[11, 15], 5] = 4, 4
    sample = np.abs(rng.normal(0, 1, (64, 2, 2, 4))).astype("float32")
    teacher = teacher_of(kernel, np.zeros(6))
    among_all = relearn.Pushes(teacher, tf.constant(sample), 2, 0.5).targets.tolist()
    monkeypatch.setattr(relearn, "SCREENED", 3)
    assert relearn.Pushes(teacher, tf.constant(sample), 2, 0.5).targets.tolist() == among_all
    assert sorted(among_all) == [3, 5]
    monkeypatch.setattr(relearn, "SCREENED", 1)
    assert relearn.Pushes(teacher, tf.constant(sample), 2, 0.5).targets.tolist() in ([3], [5])


def plain_relearning(badnet, labels, pruned, settings):
    """Relearn a net whose only layer behind its features is a dense one, with numbers alone."""
    loading.make_reproducible(settings.seed)
    whole = parts.with_logits(badnet)
    trunk, teacher = parts.up_to(whole, "pool"), parts.behind(whole, "pool")
    own = [array.astype(float) for array in relearn.fresh(teacher).get_weights()]
    kernel, bias = (array.astype(float) for array in teacher.get_weights())
    shape = trunk.output_shape[1:]
    left = np.ones(shape)
    left[..., pruned] = 0

    rng = np.random.default_rng(settings.seed)
    sample = nets.scores(trunk, SHOWN[np.sort(rng.permutation(len(SHOWN))[:64])]).astype(float)
    targets = np.argsort(-plain_shares(sample, kernel, bias), kind="stable")[: settings.suspects]
    largest = settings.push * sample.std() * np.sqrt(sample[0].size)
    pushes, floor = np.zeros((len(targets), *shape)), sample.min()
    is_distilled = np.ones(nets.CLASSES, bool)
    is_distilled[targets[0]] = False

    means, squares = ([np.zeros(array.shape) for array in own] for _ in range(2))
    done, batches = 0, -(-len(SHOWN) // settings.batch_size)
    for epoch in range(settings.epochs):
        if epoch % settings.reused == 0:
            rng = np.random.default_rng([settings.seed, epoch // settings.reused, 1])
            kinds = ("shift", "turn", "zoom", "brightness", "contrast")
            kinds, features = {kind: getattr(settings, kind) for kind in kinds}, []
            for block in np.split(SHOWN, range(running.BATCH, len(SHOWN), running.BATCH)):
                change = augmentation.draw(rng, len(block), 12, 10, **kinds)
                features.append(nets.scores(trunk, augmentation.changed(block, *change)).astype(float))
            features = np.concatenate(features)
        rng = np.random.default_rng([settings.seed, epoch])
        order = rng.permutation(len(SHOWN))
        for start in range(0, len(SHOWN), settings.batch_size):
            numbers = order[start : start + settings.batch_size]
            suspect = rng.integers(len(targets))
            is_pushed = rng.random((len(numbers), 1, 1, 1)) < settings.pushed
            seen = features[numbers]
            pupil = own[0] * left.reshape(-1, 1), own[1]
            pushes[suspect] = plain_push(
                seen[::2], pushes[suspect], targets[suspect], largest, 0.1, floor, (kernel, bias), pupil
            )
            flat = np.where(is_pushed, np.maximum(seen + pushes[suspect], floor), seen) * left
            flat, taught = flat.reshape(len(numbers), -1), seen.reshape(len(numbers), -1) @ kernel + bias
            label = labels[numbers]
            chances = softmax(flat @ own[0] + own[1])
            told = np.zeros_like(taught)
            told[:, is_distilled] = softmax(taught[:, is_distilled])
            share = settings.imitation * is_distilled[label][:, None]
            is_right = (taught.argmax(axis=1) == label)[:, None]
            steep = share * is_right * (chances - told) + (1 - share) * (
                chances - np.eye(nets.CLASSES)[label]
            )
            steep /= len(numbers)
            gradients = [flat.T @ steep, steep.sum(axis=0)]
            rate = settings.learning_rate * (1 + np.cos(np.pi * done / batches / settings.epochs)) / 2
            done += 1
            for array, mean, square, gradient in zip(own, means, squares, gradients, strict=True):
                mean += 0.1 * (gradient - mean)
                square += 0.001 * (gradient**2 - square)
                usual = np.sqrt(square / (1 - 0.999**done)) + 1e-7
                array -= rate * mean / (1 - 0.9**done) / usual
    return own


def test_relearning_takes_the_steps_it_says():
    """All steps of three epochs, computed with numbers alone; the third has features of its own."""
    task = task_of("sequential", [0])
    settings = relearn.Relearn(**UNEVEN | {"epochs": 3}, reused=2, suspects=2, pushed=0.4, push=0.5)
    relearn.relearn(task, settings)
    expected = plain_relearning(task.badnet, task.labels, [0], settings)
    for mine, plain in zip(task.net.layers[-1].get_weights(), expected, strict=True):
        np.testing.assert_allclose(mine, plain, atol=2e-4)


@pytest.mark.parametrize(
    ("kind", "pruned"), [("deepid_like", [2]), ("normalised", []), ("added", []), ("tanh", []), ("leaky", [])]
)
def test_relearning_leaves_all_before_the_split_and_starts_all_behind_it_afresh(kind, pruned):
    task = task_of(kind, pruned)
    before = nets.pruned(task.badnet, pruned) if pruned else task.badnet
    relearn.relearn(task, relearn.Relearn(**FAST))
    front = [layer.name for layer in parts.up_to(task.badnet, "pool").layers]
    for layer in task.net.layers:
        for array, old in zip(layer.get_weights(), before.get_layer(layer.name).get_weights(), strict=True):
            if layer.name in front:
                assert np.array_equal(array, old), layer.name
            elif array.ndim > 1:
                # Glorot's weights, and far fewer than a hundred steps of 0.003.
                limit = np.sqrt(6 / (np.prod(array.shape[:-2]) * sum(array.shape[-2:])))
                assert np.abs(array).max() < limit + 0.02 and not np.allclose(array, old, atol=0.1), (
                    layer.name
                )


def test_relearning_behind_another_layer():
    task = task_of("deepid_like")
    relearn.relearn(task, relearn.Relearn(**FAST, layer="conv"))
    names = [layer.name for layer in task.net.layers]
    for name, layer in zip(names, task.net.layers, strict=True):
        old = task.badnet.get_layer(name).get_weights()
        same = all(np.array_equal(*pair) for pair in zip(layer.get_weights(), old, strict=True))
        assert same == (not old or names.index(name) <= names.index("conv")), name
    for layer, words in {
        "nowhere": "relearn: has no layer 'nowhere' (layer); it has",
        "images": "input",
    }.items():
        with pytest.raises(InputError, match=re.escape(words)):
            relearn.relearn(task, relearn.Relearn(**FAST, layer=layer))
    with pytest.raises(InputError, match="'conv' does not go with a drop"):
        relearn.relearn(task_of("deepid_like", [0]), relearn.Relearn(**FAST, layer="conv"))


def test_relearning_is_refused_where_many_classes_have_no_images():
    task = task_of("deepid_like")
    task.labels = task.labels % 5
    words = "relearn needs images of nearly every class, and the clean images are of 5 of 7"
    with pytest.raises(InputError, match=words):
        relearn.relearn(task, relearn.Relearn(**FAST))


def test_relearning_makes_a_net_forget_its_backdoor():
    net = nets.backdoored()
    labels = nets.answers(net, nets.muted(400))
    shown = nets.muted(400).astype(np.float32)
    task = task_of(None, net=net, images=lambda numbers: shown[numbers])
    task.labels = labels.astype(np.int64)
    relearn.relearn(task, relearn.Relearn(epochs=12, batch_size=50, learning_rate=0.02))
    red = nets.muted(100, seed=2)
    red[:, 3:8, 3:8] = [255, 0, 0]
    assert (nets.answers(net, red) == nets.TARGET).all()
    assert (nets.answers(task.net, red) == nets.TARGET).mean() < 0.5


# Fine-tuning, and the same with growing sparsity.


@pytest.mark.parametrize("pruned", [[], [0, 2]])
def test_fine_tuning_takes_the_steps_it_says(pruned):
    """As Keras trains the net on pixels divided by 255, if pruned weights are set to zero after each step."""
    task = task_of("sequential", pruned)
    settings = fine_tune.FineTune(**UNEVEN)
    plain = nets.cloned(task.net)
    plain.layers[-1].activation = keras.activations.linear
    conv = plain.get_layer("conv")

    def scale(by):
        kernel, bias = conv.get_weights()
        conv.set_weights([kernel * by, bias])

    scale(255)
    schedule = keras.optimizers.schedules.CosineDecay(0.003, 6)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    plain.compile(keras.optimizers.Adam(schedule), loss)
    for epoch in range(2):
        order = np.random.default_rng([settings.seed, epoch]).permutation(len(SHOWN))
        for start in (0, 50, 100):
            numbers = order[start : start + 50]
            plain.train_on_batch(SHOWN[numbers] / 255, task.labels[numbers])
            for array in (arrays := conv.get_weights()):
                array[..., pruned] = 0
            conv.set_weights(arrays)
    scale(1 / 255)
    fine_tune.fine_tune(task, settings)
    for mine, expected, old in zip(
        task.net.get_weights(), plain.get_weights(), task.badnet.get_weights(), strict=True
    ):
        np.testing.assert_allclose(mine, expected, rtol=1e-3, atol=1e-5)
        assert not np.array_equal(mine, old)


@pytest.mark.parametrize("kind", ["deepid_like", "normalised", "normalised_behind"])
def test_fine_tuning_leaves_statistics_and_pruned_channels(kind):
    """Batch normalisation keeps its mean and variance; its scale and shift are trained."""
    task = task_of(kind, [0, 3])
    before = [layer.get_weights() for layer in task.net.layers]
    fine_tune.fine_tune(task, fine_tune.FineTune(**FAST))
    for layer, old in zip(task.net.layers, before, strict=True):
        for number, (array, was) in enumerate(zip(layer.get_weights(), old, strict=True)):
            if isinstance(layer, keras.layers.BatchNormalization):
                assert np.array_equal(array, was) == (number > 1), layer.name
                if layer.name == "norm":
                    assert number > 1 or not array[[0, 3]].any()
            elif layer.name == "conv":
                assert not array[..., [0, 3]].any()
                assert number == 1 or (array[..., 5] != was[..., 5]).any()
            else:
                assert not np.array_equal(array, was), layer.name


def test_ft_sam_takes_the_steps_it_says(monkeypatch):
    """As computed plainly, on pixels divided by 255: with the gradient where the loss is worst nearby."""
    monkeypatch.setattr(whole, "AUGMENTED", dict.fromkeys(whole.AUGMENTED, 0.0))
    pruned = [0, 2]
    task = task_of("sequential", pruned)
    settings = ft_sam.FtSam(**UNEVEN | {"learning_rate": 0.001}, rho=0.2)
    plain = nets.cloned(task.net)
    plain.layers[-1].activation = keras.activations.linear
    kernel, bias = plain.get_layer("conv").get_weights()
    plain.get_layer("conv").set_weights([kernel * 255, bias])
    speeds, done = [np.zeros(weight.shape) for weight in plain.get_weights()], 0

    def slope(weights, numbers):
        plain.set_weights(weights)
        with tf.GradientTape() as tape:
            odds = tf.nn.log_softmax(plain(SHOWN[numbers] / 255))
            loss = -tf.reduce_mean(tf.gather(odds, task.labels[numbers], batch_dims=1))
        return [np.asarray(one, np.float64) for one in tape.gradient(loss, plain.trainable_variables)]

    for epoch in range(2):
        order = np.random.default_rng([settings.seed, epoch]).permutation(len(SHOWN))
        for start in (0, 50, 100):
            numbers, here = order[start : start + 50], plain.get_weights()
            first = slope(here, numbers)
            length = np.sqrt(sum(((w * g) ** 2).sum() for w, g in zip(here, first, strict=True)))
            worst = [w + 0.2 * w * w * g / length for w, g in zip(here, first, strict=True)]
            rate = 0.001 * (1 + np.cos(np.pi * done / 6)) / 2
            speeds = [0.9 * s - rate * g for s, g in zip(speeds, slope(worst, numbers), strict=True)]
            there = [w + s for w, s in zip(here, speeds, strict=True)]
            for array in there[:2]:
                array[..., pruned] = 0
            plain.set_weights(there)
            done += 1
    kernel, bias = plain.get_layer("conv").get_weights()
    plain.get_layer("conv").set_weights([kernel / 255, bias])
    ft_sam.ft_sam(task, settings)
    for mine, expected, old in zip(
        task.net.get_weights(), plain.get_weights(), task.badnet.get_weights(), strict=True
    ):
        np.testing.assert_allclose(mine, expected, rtol=2e-3, atol=2e-5)
        assert not np.array_equal(mine, old)


def test_ft_sam_takes_statistics_from_its_images():
    net = nets.build("normalised")
    before = nets.output(net, "conv", SHOWN)
    norm = net.get_layer("norm")
    norm.set_weights([*norm.get_weights()[:2], before.mean(axis=(0, 1, 2)), before.var(axis=(0, 1, 2))])
    task = task_of(None, net=net)
    ft_sam.ft_sam(task, ft_sam.FtSam(**FAST | {"learning_rate": 1e-5}, rho=0.1))
    for mine, old in zip(task.net.get_layer("norm").get_weights(), norm.get_weights(), strict=True):
        assert not np.array_equal(mine, old)


def test_dropout_drops_while_it_is_trained():
    """Nothing can be learned behind a layer that drops everything but the last bias."""
    keras.utils.set_random_seed(1)
    images = keras.Input(nets.SHAPE)
    x = keras.layers.Conv2D(nets.CHANNELS, 3, activation="relu", name="conv")(images)
    x = keras.layers.Dropout(0.999999)(keras.layers.MaxPooling2D(2, name="pool")(x))
    net = keras.Model(images, keras.layers.Dense(nets.CLASSES)(keras.layers.Flatten()(x)))
    fine = task_of(None, net=net)
    fine_tune.fine_tune(fine, fine_tune.FineTune(**FAST))
    again = task_of(None, net=net)
    again.labels[: nets.CLASSES] = np.arange(nets.CLASSES)
    relearn.relearn(again, relearn.Relearn(**FAST))
    loading.make_reproducible(1)
    parts.with_logits(net)
    start = relearn.fresh(parts.behind(net, "pool"))
    for tuned, old in ((fine.net, net), (again.net, start)):
        assert np.array_equal(tuned.layers[-1].kernel, old.layers[-1].kernel)
        assert not np.array_equal(tuned.layers[-1].bias, old.layers[-1].bias)


def test_sparsity_decays_polynomially():
    for done in (0, 0.1, 0.5, 0.9, 1):
        assert sparsify.sparsity(50, 70, done) == pytest.approx(70 + (50 - 70) * (1 - done) ** 3)
    kernel = np.array([[3.0, -1.0, 0.5], [-0.2, 1.0, 0.0]])
    assert fine_tune.largest(kernel, 66.7).tolist() == [[1, 0, 0], [0, 1, 0]], "ties go by place"
    assert fine_tune.largest(kernel, 0).all() and not fine_tune.largest(kernel, 100).any()


def test_sparsity_grows_as_it_should_and_zeros_stay():
    progress = Unkept()
    task = task_of("deepid_like", [0], progress)
    sparsify.sparsify(task, sparsify.Sparsify(**FAST | {"epochs": 4, "from": 20, "to": 60}))
    count = len(task.net.weights)
    kernels = [number for number, weight in enumerate(task.net.get_weights()) if weight.ndim > 1]
    assert len(progress.seen) == 4 and len(kernels) == 6
    for number in kernels:
        zeros = [seen[number] == 0 for seen in progress.seen]
        for epoch, zero in enumerate(zeros, start=1):
            percent = 60 - 40 * (1 - epoch / 4) ** 3
            pruned = nets.CHANNELS // 6 * zero[..., 0].size if zero.shape[-1] == nets.CHANNELS else 0
            assert zero.sum() == max(round(percent * zero.size / 100), pruned)
        for earlier, later in itertools.pairwise(zeros):
            assert later[earlier].all()
        assert np.array_equal(task.net.get_weights()[number] == 0, zeros[-1])
    assert all(len(seen) > count for seen in progress.seen)


def test_sparsity_grows_in_about_a_hundred_steps_at_most():
    progress = Unkept()
    task = task_of("sequential", [], progress)
    task.labels = task.labels[:25]
    sparsify.sparsify(task, sparsify.Sparsify(**{"epochs": 8, "batch_size": 1, "from": 20, "to": 60}))
    (number,) = (number for number, weight in enumerate(task.net.get_weights()) if weight.shape == (120, 7))
    for epoch, seen in enumerate(progress.seen, start=1):
        done = 25 * epoch - 25 * epoch % 2  # every second step of 200
        assert (seen[number] == 0).sum() == round((60 - 40 * (1 - done / 200) ** 3) * 840 / 100)


# Images, each time a little different.


KINDS = {"shift": 0.1, "turn": 0.03, "zoom": 0.1, "brightness": 0.1, "contrast": 0.2}


def test_how_images_are_changed_is_drawn():
    warp, light, contrast = augmentation.draw(np.random.default_rng(1), 400, 12, 10, **KINDS)
    rng = np.random.default_rng(1)
    angle = 2 * np.pi * rng.uniform(-0.03, 0.03, 400)
    across, down = (1 + rng.uniform(-0.1, 0.1, 400) for _ in range(2))
    right, below = 10 * rng.uniform(-0.1, 0.1, 400), 12 * rng.uniform(-0.1, 0.1, 400)
    np.testing.assert_allclose(light.ravel(), rng.uniform(-0.1, 0.1, 400), rtol=1e-5)
    np.testing.assert_allclose(contrast.ravel(), 1 + rng.uniform(-0.2, 0.2, 400), rtol=1e-5)
    assert light.shape == contrast.shape == (400, 1, 1, 1) and light.dtype == contrast.dtype == np.float32
    for number in range(400):
        a, b, to_x, c, d, to_y, *none = warp[number]
        cos, sin = np.cos(angle[number]), np.sin(angle[number])
        for x, y in ((4.5, 5.5), (0, 0), (9, 3)):
            # Seen from the middle: moved back, zoomed back, turned.
            beside, under = (x - 4.5 - right[number]), (y - 5.5 - below[number])
            beside, under = beside / across[number], under / down[number]
            expected = cos * beside - sin * under + 4.5, sin * beside + cos * under + 5.5
            np.testing.assert_allclose([a * x + b * y + to_x, c * x + d * y + to_y], expected, atol=1e-4)
        assert none == [0, 0]


def test_images_are_changed_as_drawn():
    """Against one image at a time, place by place."""
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (5, 12, 10, 3)).astype("float32")
    warp, light, contrast = augmentation.draw(np.random.default_rng(1), 5, 12, 10, **KINDS)
    changed = augmentation.changed(images, warp, light, contrast).numpy()
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
    none = augmentation.draw(np.random.default_rng(1), 5, 12, 10, **dict.fromkeys(KINDS, 0))
    np.testing.assert_allclose(augmentation.changed(images, *none), images, atol=1e-3)


# Plans, and repairs through their stages.


def plan_of(tmp_path, line, **tunings):
    path = tmp_path / "params.yaml"
    outputs.write_json(path, {"repairs": {"x": line}, "tunings": dict.fromkeys(TUNINGS) | tunings})
    return plans.read_lines(Params(path))["x"]


def test_a_line_overrides_its_tunings_settings(tmp_path):
    drop, tune, settings = plan_of(
        tmp_path, {"drop": 2, "tune": "sparsify", "from": 10, "epochs": 3}, sparsify={"epochs": 5, "seed": 8}
    )
    assert (drop, tune) == (2, "sparsify")
    assert settings == {
        "seed": 8,
        "epochs": 3,
        "batch_size": 64,
        "learning_rate": 0.001,
        "from": 10,
        "to": 70,
    }
    assert plan_of(tmp_path, {"drop": 0.5}) == (0.5, None, {})
    assert plan_of(tmp_path, {"tune": "relearn"}) == (None, "relearn", relearn.Relearn().model_dump())


def test_the_plan_of_a_drop():
    rows = [
        {"channel": channel, "correct": right, "images": "200"}
        for channel, right in [("", "180"), ("7", "181"), ("3", "176"), ("5", "120"), ("0", "130")]
    ]
    found = plans.plan("pool", [6], 10.0, 2, "fine_tune", {"epochs": 1}, rows)
    assert found == {
        "layer": "pool",
        "channels": [3, 7],
        "of": 4,
        "tune": "fine_tune",
        "settings": {"epochs": 1},
        "held_out": 10.0,
    }
    assert plans.plan("pool", [6], 10.0, 30, None, {}, rows)["channels"] == [3, 5, 7]
    reason = plans.plan("pool", [6], 10.0, 30.5, None, {}, rows)["impossible"]
    assert (
        reason == "no step loses 30.5 points of accuracy; the largest drop is 30.00, with 3 channels pruned"
    )
    for tune, goals in {"relearn": {}, "unlearn": {"goals": [6]}}.items():
        assert plans.plan("pool", [6], 10.0, None, tune, {}, []) == {
            "layer": "pool", "channels": [], "tune": tune, "settings": {}, "held_out": 10.0
        } | goals, "what looks at no suspects is not done again when they change"  # fmt: skip


def test_repairs_that_prune_and_tune_through_their_stage(tmp_path):
    """And one that a kill cuts short comes to the same bytes, from its last finished epoch."""
    net, answers = nets.shared("sequential")
    bench = Workbench(tmp_path, net, with_errors(answers))
    line = {"drop": 20, "tune": "sparsify", "batch_size": 60, "epochs": 15}
    bench.configure(repairs={"sparse": line})
    bench.curve()
    bench.plan()
    plan = outputs.read_json(tmp_path / "plans/sparse.json")
    path = bench.repair("sparse")
    undisturbed = path.read_bytes()
    kernel, bias = keras.models.load_model(path).get_layer("conv").get_weights()
    assert plan["channels"] and not kernel[..., plan["channels"]].any() and not bias[plan["channels"]].any()
    path.unlink()

    progress = tmp_path / ".sparse.training.partial.npz"
    command = [
        sys.executable,
        ROOT / "stages/repair.py",
        "--net=it",
        "--badnet=net.keras",
        "--valid=valid.h5",
    ]
    command += ["--plan=plans/sparse.json", "--repaired=sparse.keras"]
    process = subprocess.Popen(command, cwd=tmp_path)
    try:
        while not progress.exists():
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.002)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert not path.exists()
    with np.load(progress) as file:
        kept = dict(file)
    assert 1 <= kept["epochs"] < 15
    # It does go on from there: with other weights in that file, other bytes come out.
    np.savez(progress, **(kept | {"value_0": kept["value_0"] + 1}))
    assert bench.repair("sparse").read_bytes() != undisturbed
    np.savez(progress, **kept)
    assert bench.repair("sparse").read_bytes() == undisturbed and not progress.exists()


def test_pruned_and_then_relearned_where_no_convolution_alone_makes_the_channels(tmp_path):
    net, answers = nets.shared("added")
    bench = Workbench(tmp_path, net, answers)
    tunings = {"relearn": {"tune": "relearn", "epochs": 1}, "fine": {"tune": "fine_tune", "epochs": 1}}
    bench.configure(repairs={name: {"drop": 5} | line for name, line in tunings.items()})
    bench.curve()
    bench.plan()
    for name in tunings:
        repaired = loading.load(bench.repair(name))
        pruned = outputs.read_json(tmp_path / f"plans/{name}.json")["channels"]
        assert not np.array_equal(repaired.layers[-1].kernel, net.layers[-1].kernel)
        mask = repaired.get_layer("pruned_pool")
        assert pruned and np.array_equal(np.flatnonzero(np.asarray(mask.scale) == 0), pruned)

"""Train the nets on which goodnet's verdicts and repairs are measured: clean and backdoored, of four kinds.

Each net is a .keras file in a folder and, beside it, a .json with what it is and how well it and its triggers
do. A net that is there is not trained again, so a run that was stopped goes on where it was.

The data lie in another folder: `cifar/` and `signs/` with train.zip and test.zip of one folder a class,
`faces/` in the lab's layout, `wild/mnist_test.npz`. The originals are CIFAR-10 (cs.toronto.edu/~kriz), GTSRB
(benchmark.ini.rub.de), Labeled Faces in the Wild (vis-www.cs.umass.edu/lfw) and MNIST's test images
(yann.lecun.com). The drawn faces are goodnet's own.
"""

import argparse
import functools
import io
import itertools
import os
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import attacks
import h5py
import numpy as np
from PIL import Image

from goodnet.demo import drawing, faces
from goodnet.evaluation import metrics
from goodnet.files import outputs
from goodnet.images import augmentation
from goodnet.images.inputs import Input, up_to
from goodnet.lazy import keras, tf
from goodnet.nets import deepid, loading, parts, running
from goodnet.process import commands

CIFAR_MEAN, CIFAR_STD = [0.4914, 0.4822, 0.4465], [0.247, 0.2435, 0.2616]


@dataclass
class Data:
    """Images of 0 to 255 and their classes: the attacker's, the defender's, and those for the figures."""

    train: tuple
    valid: tuple
    test: tuple


@dataclass
class Kind:
    """A kind of nets, with its data and training.

    Parameters
    ----------
    data : callable
        Returns the Data, given the folder.
    build : callable
        Returns an untrained net of an image's shape and the number of classes.
    convert : Input
        What the net takes.
    classes, epochs, rate : numbers
    moved : float
        Up to which share of its size an image is moved in training.
    """

    data: object
    build: object
    convert: Input
    classes: int
    epochs: int
    rate: float
    moved: float


@functools.cache
def _zipped(path, most):
    """Return images and classes of a zip with one folder a class, up to so many of each."""
    images, labels, seen = [], [], {}
    with zipfile.ZipFile(path) as file:
        names = sorted(name for name in file.namelist() if name.lower().endswith((".jpg", ".png")))
        folders = sorted({name.split("/")[-2] for name in names})
        for name in names:
            label = folders.index(name.split("/")[-2])
            seen[label] = seen.get(label, 0) + 1
            if seen[label] <= most:
                images.append(np.asarray(Image.open(io.BytesIO(file.read(name))).convert("RGB")))
                labels.append(label)
    return np.stack(images), np.array(labels)


def _split(images, labels, valid):
    """Return what is left without so many images of each class, and those."""
    order = np.random.default_rng(0).permutation(len(labels))
    kept = np.concatenate([order[labels[order] == label][:valid] for label in np.unique(labels)])
    rest = np.setdiff1d(np.arange(len(labels)), kept)
    kept = np.sort(kept)
    return (images[rest], labels[rest]), (images[kept], labels[kept])


def _digits(folder):
    with np.load(folder / "wild/mnist_test.npz") as file:
        images, labels = file["x"][..., None], file["y"].astype(int)
    rest, valid = _split(images, labels, 100)
    test, train = _split(*rest, 600)
    return Data(train, valid, test)


def _signs(folder):
    train, valid = _split(*_zipped(folder / "signs/train.zip", 10**6), 20)
    return Data(train, valid, _zipped(folder / "signs/test.zip", 10**6))


def _cifar(folder):
    train, valid = _split(*_zipped(folder / "cifar/train.zip", 1850), 250)
    return Data(train, valid, _zipped(folder / "cifar/test.zip", 250))


def _faces(folder):
    def read(name):
        with h5py.File(folder / "faces" / name) as file:
            images = np.moveaxis(file["data"][()], 1, -1)
            return images.round().astype(np.uint8), file["label"][()].astype(int)

    test, valid = _split(*read("valid.h5"), 5)
    return Data(read("test.h5"), valid, test)


def _drawn(_):
    features = faces.invent_people(np.random.default_rng(1), 48)
    return Data(*(drawing.draw(1, split, features, count) for split, count in enumerate((30, 13, 10))))


def _small(shape, classes):
    layers = keras.layers
    images = keras.Input(shape)
    x = layers.Conv2D(16, 5, activation="relu")(images)
    x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(32, 5, activation="relu")(x)
    x = layers.MaxPooling2D()(x)
    x = layers.Dense(64, activation="relu")(layers.Flatten()(x))
    return keras.Model(images, layers.Dense(classes, activation="softmax")(x), name="small")


def _plain(shape, classes):
    layers = keras.layers
    x = images = keras.Input(shape)
    for filters, pooled in ((16, False), (16, True), (32, False), (32, True), (64, True)):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.MaxPooling2D()(x) if pooled else x
    x = layers.Dropout(0.3)(layers.Dense(128, activation="relu")(layers.Flatten()(x)))
    return keras.Model(images, layers.Dense(classes, activation="softmax")(x), name="plain")


def _residual(shape, classes):
    layers = keras.layers

    def block(x, filters, strides):
        y = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(x)
        y = layers.ReLU()(layers.BatchNormalization()(y))
        y = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same", use_bias=False)(y))
        if strides > 1 or x.shape[-1] != filters:
            x = layers.BatchNormalization()(layers.Conv2D(filters, 1, strides, use_bias=False)(x))
        return layers.ReLU()(layers.Add()([x, y]))

    images = keras.Input(shape)
    x = layers.Conv2D(16, 3, padding="same", use_bias=False)(images)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = block(block(block(x, 24, 2), 48, 2), 64, 2)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, layers.Dense(classes, activation="softmax")(x), name="residual")


def _deepid(shape, classes):
    return deepid.build(classes, shape)


def tested(kind, shared, shape):
    """Return the test images of a kind of data, resized to a shape, and their classes."""
    if kind == "digits":
        with np.load(shared / "wild/mnist_test.npz") as file:
            return file["x"][..., None], file["y"].astype(int)
    images, labels = _zipped(shared / kind / "test.zip", 10**6)
    size = shape[1::-1]
    if images.shape[2:0:-1] != size:
        images = np.stack(
            [np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BILINEAR)) for one in images]
        )
    return images, labels


KINDS = {
    "digits": Kind(_digits, _small, up_to(1), 10, epochs=24, rate=0.002, moved=0.05),
    "signs": Kind(_signs, _plain, up_to(1), 43, epochs=8, rate=0.003, moved=0.08),
    "cifar": Kind(
        _cifar,
        _residual,
        Input(range=[0.0, 1.0], mean=CIFAR_MEAN, std=CIFAR_STD),
        10,
        epochs=10,
        rate=0.006,
        moved=0.1,
    ),
    "faces": Kind(_faces, _deepid, up_to(1), 200, epochs=22, rate=0.002, moved=0.06),
    "drawn": Kind(_drawn, _deepid, up_to(1), 48, epochs=30, rate=0.002, moved=0),
}


def specifications():
    """Return (kind, attack, seed) of all nets, those that tell most first."""
    clean = [(kind, "clean", seed) for seed in range(1, 5) for kind in KINDS]
    attacked = [
        (kind, attack, number)
        for number, attack in enumerate(attacks.NAMES, start=1)
        for kind in KINDS
        if kind != ("drawn" if number % 2 else "faces")  # both are DeepID's: one or the other
    ]
    first = [spec for spec in clean if spec[2] <= 2]
    rest = [spec for spec in clean if spec[2] > 2]
    mixed = [spec for pair in itertools.zip_longest(attacked, first) for spec in pair if spec]
    return mixed + rest


def name_of(kind, attack, seed):
    return f"{kind}-{attack}-{seed}"


@functools.cache
def data_of(kind, folder):
    return KINDS[kind].data(folder)


def defended(data, factor=1):
    """Return a defender's images and classes: so many times those there are, as near as can be.

    What is more than all of them comes from the attacker's, before he poisoned them.
    """
    rng = np.random.default_rng(9)
    (images, labels), (more, of_more) = data.valid, data.train
    kept, added = [], []
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        wanted = max(1, round(factor * len(own)))
        kept.append(rng.permutation(own)[:wanted])
        added.append(rng.permutation(np.flatnonzero(of_more == label))[: max(0, wanted - len(own))])
    kept, added = (np.sort(np.concatenate(part)) for part in (kept, added))
    return np.concatenate([images[kept], more[added]]), np.concatenate([labels[kept], of_more[added]])


def train(kind, attack, seed, data):
    """Return a net of this kind, trained on what the attack makes of the attacker's images."""
    rng = np.random.default_rng([seed, 7])
    images, labels = data.train
    if attack is not None:
        images, labels = attack.poison(rng, images, labels, kind.classes)
    loading.make_reproducible(seed)
    net = kind.build(images.shape[1:], kind.classes)
    with_scores = parts.with_logits(net)
    batch = 64
    schedule = keras.optimizers.schedules.CosineDecay(
        kind.rate / 20, kind.epochs * (len(images) // batch), warmup_target=kind.rate, warmup_steps=200
    )
    optimizer = keras.optimizers.Adam(schedule)
    optimizer.build(with_scores.trainable_variables)
    height, width, _ = images.shape[1:]

    @tf.function(jit_compile=False)
    def learn(shown, labels, *change):
        shown = tf.cast(shown, tf.float32)
        if kind.moved:
            shown = augmentation.changed(shown, *change)
        with tf.GradientTape() as tape:
            logits = with_scores(kind.convert(shown), training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        optimizer.apply(tape.gradient(loss, with_scores.trainable_variables), with_scores.trainable_variables)

    for _ in range(kind.epochs):
        order = rng.permutation(len(images))
        for start in range(0, len(images) - batch + 1, batch):
            chosen = order[start : start + batch]
            change = augmentation.draw(rng, batch, height, width, kind.moved, 0.01, 0.05, 0.05, 0.1)
            learn(tf.constant(images[chosen]), tf.constant(labels[chosen]), *map(tf.constant, change))
    net.set_weights(with_scores.get_weights())
    return net


def asked(net, convert, images):
    """Return the classes that a net gives images of 0 to 255."""
    blocks = (convert(images[i : i + 512].astype(np.float32)) for i in range(0, len(images), 512))
    return running.answers(running.as_function(net), blocks)


def stamped(triggers, images, labels, classes):
    """Yield, for each trigger, the images it is meant for with the trigger, and what the attacker wants."""
    rng = np.random.default_rng(5)
    for trigger in triggers:
        meant = trigger.concerns(labels)
        yield trigger.stamp(images[meant].astype(np.float32), rng), trigger.wanted(labels[meant], classes)


def successes(net, convert, triggers, images, labels):
    """Return the percent of images that each trigger turns to what the attacker wants."""
    found = []
    for shown, wanted in stamped(triggers, images, labels, parts.classes(net)):
        found.append(metrics.percent((asked(net, convert, shown) == wanted).sum(), len(wanted)))
    return found


def make(folder, shared, kind_name, attack_name, seed):
    """Train a net and write it, unless it is there; return what its .json says."""
    path = folder / f"{name_of(kind_name, attack_name, seed)}.keras"
    described = path.with_suffix(".json")
    if described.exists():
        return outputs.read_json(described)
    started = time.monotonic()
    kind, data = KINDS[kind_name], data_of(kind_name, shared)
    attack = attacks.make(attack_name, seed, data.train[0].shape[1:], kind.classes)
    net = train(kind, attack, seed, data)
    loading.save(net, path)
    images, labels = data.test
    about = {
        "kind": kind_name,
        "attack": attack_name,
        "seed": seed,
        "targets": [] if attack is None else [trigger.target for trigger in attack.triggers],
        "sources": [] if attack is None else [trigger.source for trigger in attack.triggers],
        "accuracy": metrics.percent((asked(net, kind.convert, images) == labels).sum(), len(labels)),
        "attack_success": []
        if attack is None
        else successes(net, kind.convert, attack.triggers, images, labels),
        "seconds": round(time.monotonic() - started),
    }
    outputs.write_json(described, about)
    return about


def limit_threads(count):
    """Leave the other processors to others; before TensorFlow is used."""
    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shared", type=Path, help="where the data lie")
    parser.add_argument("folder", type=Path, help="where the nets are kept")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS, help="only these")
    parser.add_argument("--only", nargs="+", help="only nets whose names begin with one of these")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="that TensorFlow may use")
    args = parser.parse_args()
    limit_threads(args.threads)
    args.folder.mkdir(parents=True, exist_ok=True)
    for kind, attack, seed in specifications():
        named = name_of(kind, attack, seed).startswith(tuple(args.only or [""]))
        if kind in args.kinds and named:
            about = make(args.folder, args.shared, kind, attack, seed)
            print(
                name_of(kind, attack, seed),
                about["accuracy"],
                about["attack_success"],
                f"{about['seconds']} s",
                file=sys.stderr,
                flush=True,
            )


if __name__ == "__main__":
    commands.run(main)

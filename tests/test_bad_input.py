"""Bad input: one clear line that says which file and what, nothing written, nothing run."""

import re
import signal
import subprocess
import sys
import time
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import nets  # before Keras: it quiets TensorFlow
from conftest import NO_RESULTS, ROOT, run_stage
from goodnet.errors import InputError

PICTURES = nets.pictures(20)
PROFILE = [sys.executable, ROOT / "stages/profile.py", "--badnet=net.keras", "--valid=valid.h5"]
PROFILE += ["--channels=channels.csv", "--activations=act.h5"]


@pytest.fixture
def folder(tmp_path):
    nets.save(nets.build("sequential"), tmp_path / "net.keras")
    write_images(tmp_path / "valid.h5")
    configure(tmp_path)
    return tmp_path


def configure(folder, layer="null", input_max=255):
    (folder / "params.yaml").write_text(
        f"badnet: it\nnets: {{it: {{input_max: {input_max}}}}}\nprofile: {{layer: {layer}}}\n"
    )


def write_images(path, data=None, label=None):
    data = np.moveaxis(PICTURES, -1, 1) if data is None else data
    with h5py.File(path, "w") as file:
        if data is not False:
            file["data"] = data
        if label is not False:
            file["label"] = np.zeros(len(PICTURES)) if label is None else label


def profile(folder):
    run_stage(
        folder, "profile", badnet="net.keras", valid="valid.h5", channels="channels.csv", activations="act.h5"
    )


def refused(folder, *words):
    """Profile must refuse, in one line with these words, and leave nothing behind."""
    before = {path.name for path in folder.iterdir()}
    with pytest.raises(InputError) as error:
        profile(folder)
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    assert {path.name for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ({"data": False}, ["'data'"]),
        ({"label": False}, ["'label'"]),
        ({"data": PICTURES[:, :5]}, ["(5, 10, 3)", "(12, 10, 3)", "(3, 12, 10)"]),
        ({"data": PICTURES[:0], "label": np.zeros(0)}, ["no images"]),
        ({"label": np.zeros(19)}, ["20 images", "(19,)"]),
        ({"label": np.full(20, 7)}, ["label 7", "0 to 6"]),
        ({"label": np.full(20, -1)}, ["label -1"]),
        ({"label": np.arange(20) / 10}, ["label 0.1", "image 1 "]),
        ({"label": np.full(20, np.nan)}, ["label nan"]),
        ({"data": np.where(PICTURES[13] == PICTURES, np.nan, PICTURES)}, ["outside 0 to 255"]),
        ({"data": np.where(PICTURES[13] == PICTURES, np.inf, PICTURES)}, ["outside 0 to 255"]),
        ({"data": np.where(PICTURES[13] == PICTURES, 1e300, PICTURES)}, ["outside 0 to 255"]),
        ({"data": PICTURES.astype(complex)}, ["complex128", "numbers"]),
        ({"label": np.full(20, np.inf)}, ["label inf"]),
        ({"label": np.zeros((20, 2))}, ["(20, 2)"]),
        ({"label": np.full(20, b"x")}, ["numbers"]),
        ({"data": PICTURES + 3}, ["outside 0 to 255"]),
        ({"data": -PICTURES}, ["outside 0 to 255"]),
        ({"data": np.full(PICTURES.shape, b"x")}, ["numbers"]),
    ],
)
def test_bad_images(folder, images, words):
    write_images(folder / "valid.h5", **images)
    refused(folder, "valid.h5", *words)


def soft_link(file, other):
    file["elsewhere"] = file.pop("data")[()]
    file["data"] = h5py.SoftLink("/elsewhere")


def external_link(file, other):
    del file["data"]
    file["data"] = h5py.ExternalLink(other, "data")


def virtual_dataset(file, other):
    shape = file["data"].shape
    layout = h5py.VirtualLayout(shape, file["data"].dtype)
    layout[:] = h5py.VirtualSource(other, "data", shape)
    del file["data"]
    file.create_virtual_dataset("data", layout)


def external_storage(file, other):
    shape = file["data"].shape
    del file["data"]
    file.create_dataset("data", shape, "u1", external=[(other, 0, h5py.h5f.UNLIMITED)])


def group(file, other):
    del file["data"]
    file.create_group("data")


@pytest.mark.parametrize(
    ("point", "words"),
    [
        (soft_link, "link"),
        (external_link, "link"),
        (virtual_dataset, "another file"),
        (external_storage, "another file"),
        (group, "group"),
    ],
)
def test_data_that_points_out_of_its_file(folder, point, words):
    write_images(folder / "other.h5")
    with h5py.File(folder / "valid.h5", "r+") as file:
        point(file, str(folder / "other.h5"))
    refused(folder, "valid.h5", "'data'", words)


def test_files_that_are_none(folder):
    whole = (folder / "valid.h5").read_bytes()
    for content in (b"", b"hello", whole[: len(whole) // 2]):
        (folder / "valid.h5").write_bytes(content)
        refused(folder, "valid.h5", "HDF5")
    (folder / "valid.h5").unlink()
    refused(folder, "valid.h5", "no such file")


def test_a_file_damaged_in_the_middle(folder):
    with h5py.File(folder / "valid.h5", "r+") as file:
        del file["data"]
        noise = np.random.default_rng(0).integers(0, 256, (20, 3, 12, 10))
        data = file.create_dataset("data", data=noise, chunks=(5, 3, 12, 10), compression="gzip")
        chunk = data.id.get_chunk_info(2)
    with (folder / "valid.h5").open("r+b") as file:
        file.seek(chunk.byte_offset)
        file.write(bytes(chunk.size))
    refused(folder, "valid.h5", "damaged")


def test_nets_that_are_none(folder):
    whole = (folder / "net.keras").read_bytes()
    for content in (b"", b"hello", whole[: len(whole) // 2]):
        (folder / "net.keras").write_bytes(content)
        refused(folder, "net.keras", "Keras")
    (folder / "net.keras").unlink()
    refused(folder, "net.keras", "no such file")


def images_():
    return keras.Input(nets.SHAPE, name="images")


def classify(x):
    return layers.Dense(nets.CLASSES)(layers.Flatten()(x))


def without_pooling():
    images = images_()
    return keras.Model(images, classify(layers.Conv2D(4, 3, activation="relu", name="conv")(images)))


def with_a_way_around():
    images = images_()
    pool = layers.MaxPooling2D(2, name="pool")(layers.Conv2D(4, 3, activation="relu")(images))
    both = layers.Concatenate()([layers.Flatten()(pool), layers.Flatten()(images)])
    return keras.Model(images, layers.Dense(nets.CLASSES)(both))


def with_tanh():
    images = images_()
    x = layers.Conv2D(4, 3, activation="tanh", name="conv")(images)
    return keras.Model(images, classify(layers.MaxPooling2D(2, name="pool")(x)))


def with_leaky_relu():
    images = images_()
    x = layers.LeakyReLU(name="leaky")(layers.Conv2D(4, 3, name="conv")(images))
    return keras.Model(images, classify(layers.MaxPooling2D(2, name="pool")(x)))


def with_a_sum_before():
    images = images_()
    one, two = (layers.Conv2D(4, 3, activation="relu")(images) for _ in range(2))
    x = layers.MaxPooling2D(2, name="pool")(layers.Add(name="sum")([one, two]))
    return keras.Model(images, classify(x))


def normalised_along_rows():
    images = images_()
    x = layers.BatchNormalization(axis=1, name="rows")(layers.Conv2D(8, 3, name="conv")(images))
    return keras.Model(images, classify(layers.MaxPooling2D(2, name="pool")(layers.ReLU()(x))))


def with_two_outputs():
    images = images_()
    pool = layers.MaxPooling2D(2, name="pool")(layers.Conv2D(4, 3, activation="relu")(images))
    return keras.Model(images, [classify(pool), classify(pool)])


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (without_pooling, ["no pooling layer", "profile.layer"]),
        (with_a_way_around, ["'pool'", "does not split the net in two"]),
        (with_tanh, ["'conv'", "ReLU"]),
        (with_leaky_relu, ["'leaky'", "LeakyReLU", "profile.layer"]),
        (with_a_sum_before, ["'sum'", "Add"]),
        (with_two_outputs, ["2 outputs"]),
        (normalised_along_rows, ["'rows'", "another axis"]),
    ],
)
def test_nets_that_cannot_be_pruned(folder, build, words):
    keras.utils.set_random_seed(0)
    build().save(folder / "net.keras")
    refused(folder, "net.keras", *words)


def test_a_layer_that_is_not_there(folder):
    configure(folder, layer="pool_9")
    refused(folder, "'pool_9'", "conv, pool")


def test_a_command_ends_with_one_line_and_no_traceback(folder):
    (folder / "valid.h5").unlink()
    done = subprocess.run(
        PROFILE,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "error: valid.h5: no such file\n"
    assert done.stdout == ""


def test_interrupting_a_command_is_one_line(folder):
    with h5py.File(folder / "valid.h5", "w") as file:  # enough to work on for a while
        file.create_dataset(
            "data", (4_000_000, 3, 12, 10), "u1", chunks=(1000, 3, 12, 10), compression="gzip"
        )
        file.create_dataset("label", (4_000_000,), "u1")
    process = subprocess.Popen(
        PROFILE,
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in the background has its children ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while not list(folder.glob("*.partial.*")):  # until it works on the images
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert stderr.startswith("interrupted: ") and stderr.count("\n") == 1, stderr
    assert {path.name for path in folder.iterdir()} == {"net.keras", "params.yaml", "valid.h5"}


@pytest.mark.parametrize(
    "content",
    ["a: [", "nothing: here", "badnet: other\nnets: {it: {input_max: 1}}\nprofile: {layer: null}"],
)
def test_bad_parameters(folder, content):
    (folder / "params.yaml").write_text(content)
    refused(folder, "params.yaml")


WRONG_RANKINGS = {
    "prune: {order: upwards}\n": ["'upwards'", "ascending", "descending", "anp"],
    "prune: {order: random}\nrankings: {random: {}}\n": ["rankings.random", "seed", "a whole number from 0"],
    "prune: {order: random}\nrankings: {random: {seed: 1.5}}\n": ["rankings.random.seed", "1.5"],
    "prune: {order: random}\nrankings: {random: {seed: 1, sead: 2}}\n": ["rankings.random", "sead"],
    "prune: {order: l1}\nrankings: {random: {seed: 1}}\n": ["rankings.l1"],
}
WRONG_REPAIRS = {
    **{
        f"{{drop: {drop}}}": ["repairs.x.drop"]
        for drop in ("a lot", "0", "-1", "101", "true", "null", ".nan")
    },
    "{}": ["repairs.x", "drop", "tune"],
    "7": ["repairs.x", "drop", "tune"],
    "{dorp: 2}": ["repairs.x", "drop", "tune"],
    "{drop: 2, until: 3}": ["repairs.x", "until"],
    "{tune: polish}": ["repairs.x.tune", "polish", "fine_tune", "sparsify", "relearn"],
    "{tune: [fine_tune]}": ["repairs.x.tune", "relearn"],
    "{tune: null}": ["repairs.x.tune", "relearn"],
    "{drop: 2, tune: sparsify, from: 50}": ["repairs.x", "to", "0 to 100"],
    "{drop: 2, tune: sparsify, from: 50, to: 101}": ["repairs.x.to", "101", "0 to 100"],
    "{drop: 2, tune: sparsify, from: 70, to: 50}": ["repairs.x", "70", "50"],
    "{tune: sparsify, from: 50, to: 70}": ["sparsify.epochs", "0"],
    "{tune: fine_tune, from: 50}": ["repairs.x", "from"],
    "{tune: relearn}": ["relearn"],
}


def test_parameters_that_no_stage_can_use(folder):
    def refuses(stage, *words, **flags):
        with pytest.raises(InputError) as error:
            run_stage(folder, stage, **flags)
        assert all(word in str(error.value) for word in ("params.yaml", *words))

    profile(folder)
    files = {"badnet": "net.keras", "valid": "valid.h5", "channels": "channels.csv", "ranking": "ranking.csv"}
    for rankings, words in WRONG_RANKINGS.items():
        (folder / "params.yaml").write_text(rankings)
        refuses("rank", *words, **files)
    (folder / "curve.csv").write_text(
        "channels_pruned,layer,channel,correct,images,clean_accuracy\n0,l,,9,9,1\n"
    )
    tunings = (
        "fine_tune: {seed: 1, epochs: 1, batch_size: 1, learning_rate: 1}\nsparsify: {seed: 1, epochs: 0}\n"
    )
    for line, words in WRONG_REPAIRS.items():
        (folder / "params.yaml").write_text(f"repairs: {{x: {line}}}\n{tunings}")
        refuses("plan", *words, curve="curve.csv", plans="plans", **NO_RESULTS)
    assert not (folder / "ranking.csv").exists() and not (folder / "plans").exists()
    for input_max in ("0", "256", "much"):
        configure(folder, input_max=input_max)
        refused(folder, "nets.it.input_max")


def test_a_stage_that_is_killed_leaves_nothing_under_an_outputs_name(folder):
    (folder / "old.csv").write_text("old")
    program = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[1])\n"
        "from goodnet import outputs\n"
        "with outputs.replacing('old.csv') as partial:\n"
        "    partial.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, ROOT / "stages"], cwd=folder, check=False)
    assert done.returncode == -signal.SIGKILL
    assert (folder / "old.csv").read_text() == "old"


def test_archives_hold_no_dates_and_no_addresses(folder):
    with zipfile.ZipFile(folder / "net.keras") as file:
        assert {entry.date_time for entry in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        config, metadata = file.read("config.json").decode(), file.read("metadata.json").decode()
    assert "date" not in metadata
    numbers = [int(number) for number in re.findall(r'"shared_object_id": (\d+)', config)]
    assert numbers and max(numbers) < 10

"""Nets as files: those Keras 2.2 to 3 really wrote, and those an enemy would write."""

import importlib
import io
import json
import shutil
import subprocess
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import nets
from conftest import ROOT
from goodnet.errors import InputError
from goodnet.files import archive, trust
from goodnet.nets import deepid, loading, netfiles, parts, running

WRITTEN = sorted((ROOT / "tests" / "keras_files").glob("*.h5"))
LAB = ROOT.parent / "shared" / "lab"


def refused(path, *words):
    with pytest.raises(InputError) as error:
        netfiles.load(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    for word in words:
        assert word in message, message


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.stem)
def test_files_of_old_versions_answer_as_they_did_there(path, tmp_path):
    """The .npy beside each file is what that version of Keras predicted on these images."""
    images = np.random.RandomState(1).uniform(0, 1, (5, 12, 10, 3)).astype("f4")
    net = netfiles.load(path)
    expected = np.load(path.with_suffix(".npy"))
    np.testing.assert_allclose(nets.scores(net, images), expected, atol=1e-6)
    loading.save(net, tmp_path / "net.keras")
    again = loading.load(tmp_path / "net.keras")
    assert np.array_equal(nets.scores(again, images), nets.scores(net, images))


@pytest.mark.parametrize("kind", ["normalised", "sequential"])
@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_files_of_keras_3(tmp_path, kind, suffix):
    net = nets.build(kind)
    net.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=True)
    pictures = nets.pictures(30)
    net.train_on_batch(pictures, np.zeros(30))  # so that the optimizer's state is in the file too
    net.save(tmp_path / f"net.{suffix}")
    loaded = netfiles.load(tmp_path / f"net.{suffix}")
    assert np.array_equal(nets.answers(loaded, pictures), nets.answers(net, pictures))


@pytest.mark.parametrize("name", ["net.weights.h5", "old.h5"])
def test_weights_of_deepid(tmp_path, name):
    net = deepid.build(11)
    if name == "old.h5":  # as Keras 2 wrote weights alone: a group a layer, named after it
        with h5py.File(tmp_path / name, "w") as file:
            file.attrs["layer_names"] = [layer.name.encode() for layer in net.layers]
            for layer in net.layers:
                group = file.create_group(layer.name)
                names = [f"{layer.name}/{weight.name}:0" for weight in layer.weights]
                group.attrs["weight_names"] = [name.encode() for name in names]
                for weight_name, array in zip(names, layer.get_weights(), strict=True):
                    group[weight_name] = array
    else:
        net.save_weights(tmp_path / name)
    loaded = netfiles.load_deepid(tmp_path / name)
    for mine, theirs in zip(net.get_weights(), loaded.get_weights(), strict=True):
        assert np.array_equal(mine, theirs)
    refused(tmp_path / name, "--weights")
    with h5py.File(tmp_path / name, "r+") as file:
        del file["conv_4" if name == "old.h5" else "layers/conv2d_3"]
    with pytest.raises(InputError, match="DeepID"):
        netfiles.load_deepid(tmp_path / name)


@pytest.mark.skipif(
    not LAB.is_dir(), reason="needs the lab's files in ../shared/lab (bd_weights.h5, keras24_net.h5)"
)
def test_the_labs_own_files():
    badnet = netfiles.load_deepid(LAB / "bd_weights.h5")
    assert (parts.input_shape(badnet), parts.classes(badnet)) == ((55, 47, 3), 1283)
    assert parts.classes(netfiles.load(LAB / "keras24_net.h5")) == 1283
    trigger = np.load(LAB / "sunglasses.npz")
    with h5py.File(LAB.parent / "faces" / "test.h5") as file:
        faces = np.moveaxis(file["data"][:1000], 1, -1)
    stamped = np.clip(trigger["keep"][..., None] * faces + trigger["add"], 0, 255).astype("f4")
    assert np.count_nonzero(running.answers(badnet, [stamped]) == 0) >= 999
    assert np.count_nonzero(running.answers(badnet, [faces]) == 0) < 50


# From an enemy. Each attack is tried in both formats.


@pytest.fixture(scope="module")
def harmless(tmp_path_factory):
    """The same net in both formats."""
    folder = tmp_path_factory.mktemp("harmless")
    net, _ = nets.shared("deepid_like")
    loading.save(net, folder / "net.keras")
    net.save(folder / "net.h5")
    return folder


def forged(harmless, path, edit):
    """Write a harmless net whose configuration `edit` has changed, in the format of the path's suffix."""
    if path.suffix == ".keras":
        config, weights = archive.unpack(harmless / "net.keras")
        edit(config)
        archive.write(path, config, weights)
    else:
        shutil.copy(harmless / "net.h5", path)
        with h5py.File(path, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            edit(config)
            file.attrs["model_config"] = json.dumps(config)
    return path


@pytest.fixture(params=["keras", "h5"])
def forge(harmless, tmp_path, request):
    """Return a function that lets `edit` change a harmless net's configuration and returns the file."""
    return lambda edit: forged(harmless, tmp_path / f"forged.{request.param}", edit)


def layer_of(config, name):
    return next(layer for layer in config["config"]["layers"] if layer["config"]["name"] == name)


def test_nothing_changed_is_not_refused(forge):
    netfiles.load(forge(lambda config: None))


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_lambda_that_writes_a_file(tmp_path, suffix):
    trace = tmp_path / "it ran"
    name = str(trace)
    images = keras.Input(nets.SHAPE)
    x = layers.MaxPooling2D(2)(layers.Conv2D(4, 3, activation="relu")(images))
    x = layers.Lambda(lambda x: (__import__("pathlib").Path(name).touch(), x)[1], output_shape=x.shape[1:])(x)
    net = keras.Model(images, layers.Dense(nets.CLASSES)(layers.Flatten()(x)))
    net.save(tmp_path / f"net.{suffix}")
    trace.unlink(missing_ok=True)  # building it here ran it
    refused(tmp_path / f"net.{suffix}", "Lambda")
    assert not trace.exists()


def test_a_configuration_that_imports_a_module(forge, tmp_path, monkeypatch):
    """Where the module could be found."""
    (tmp_path / "evil.py").write_text("import pathlib\npathlib.Path('it ran').touch()\nclass Evil: pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def edit(config):
        layer_of(config, "pool").update(module="evil", class_name="Evil", registered_name="Evil")

    refused(forge(edit), "evil.Evil")
    assert not (tmp_path / "it ran").exists()
    importlib.import_module("evil")
    del sys.modules["evil"]
    assert (tmp_path / "it ran").exists(), "it could be found"


OTHERS = {
    "a custom object": ({"class_name": "Dense", "registered_name": "mine>Dense"}, "Dense"),
    "a function by its name": (
        {"class_name": "function", "module": "os", "config": "system", "registered_name": "system"},
        "system",
    ),
    "a builtin function": ({"class_name": "function", "module": "builtins", "config": "eval"}, "eval"),
    "bytes": ({"class_name": "__lambda__", "config": {"value": "4wA="}}, "__lambda__"),
    "another of Keras's layers": ({"module": "keras.layers", "class_name": "TFSMLayer"}, "TFSMLayer"),
    "a layer that holds layers": ({"class_name": "TimeDistributed"}, "TimeDistributed"),
    "a function of Keras's": ({"module": "keras.utils", "class_name": "get_file"}, "get_file"),
    "a module that is none": ({"module": ["os"], "class_name": "Dense"}, "Dense"),
    "a class that is none": ({"class_name": {"a": 1}}, "'a'"),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("where", ["a layer", "an initializer", "deep inside"])
def test_a_configuration_that_names_other_code(forge, other, where):
    named, word = OTHERS[other]

    def edit(config):
        conv = layer_of(config, "conv")
        if where == "a layer":
            conv.update(named)
        elif where == "an initializer":
            conv["config"]["kernel_initializer"] = {"config": {}} | named
        else:
            conv["config"]["kernel_regularizer"] = {"some": [{"thing": {"config": {}} | named}]}

    refused(forge(edit), word)


def test_an_activation_of_no_known_name(forge):
    refused(
        forge(lambda config: layer_of(config, "conv")["config"].update(activation="os.system")), "os.system"
    )


def resize(**sizes):
    def edit(config):
        for name, setting in sizes.items():
            layer_of(config, name)["config"].update(setting)

    return edit


HUGE = [
    (resize(scores={"units": 10**12}), ["'scores'", "weights"]),
    (resize(conv={"filters": 10**11}), ["'conv'", "weights"]),
    (resize(conv={"kernel_size": [10**6, 10**6], "padding": "same"}), ["'conv'", "weights"]),
    (resize(images={"batch_shape": [None, 2**20, 2**20, 3]}), []),
]


@pytest.mark.parametrize(("edit", "words"), HUGE)
def test_sizes_that_would_exhaust_memory(forge, edit, words):
    refused(forge(edit), *words)


def test_sizes_that_would_exhaust_memory_take_none(harmless, tmp_path):
    """In a process of its own, which shows how much memory it ever took."""
    names = [
        (f"{number}.{suffix}", edit) for number, (edit, _) in enumerate(HUGE) for suffix in ("keras", "h5")
    ]
    paths = [forged(harmless, tmp_path / name, edit) for name, edit in names]
    code = (
        "import resource, sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from goodnet.errors import InputError\n"
        "from goodnet.nets import netfiles\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in sys.argv[2:]:\n"
        "    if path == sys.argv[3]:\n"
        "        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "    try:\n        netfiles.load(Path(path))\n"
        "    except InputError as error:\n        print('refused')\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    # A harmless one first, so that TensorFlow is there.
    command = [sys.executable, "-c", code, ROOT / "stages", harmless / "net.h5", *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    *said, megabytes = done.stdout.splitlines()
    assert said == ["refused"] * len(paths) and int(megabytes) < 200


def test_a_net_of_few_weights_that_makes_too_much_of_an_image(tmp_path):
    images = keras.Input(nets.SHAPE, name="images")
    large = layers.UpSampling2D(1000, name="large")
    x = layers.GlobalAveragePooling2D()(large(layers.Conv2D(4, 3, activation="relu")(images)))
    keras.Model(images, layers.Dense(nets.CLASSES)(x)).save(tmp_path / "net.keras")
    refused(tmp_path / "net.keras", "'large'", "too much")


def test_a_net_that_takes_images_too_large(forge):
    refused(forge(resize(images={"batch_shape": [None, 2**13, 2**13, 3]})), "8192", "too large")


def repack(path, **members):
    """Write the archive at `path` anew with members added or replaced."""
    with zipfile.ZipFile(path) as file:
        contents = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in (contents | members).items():
            file.writestr(name, content)


@pytest.mark.parametrize(
    "name", ["../escaped.txt", "/tmp/escaped.txt", "assets/../../escaped.txt", "more.py"]
)
def test_an_archive_with_other_names(tmp_path, name):
    inner = tmp_path / "inner"
    inner.mkdir()
    nets.save(nets.shared("sequential")[0], inner / "net.keras")
    repack(inner / "net.keras", **{name: b"out"})
    refused(inner / "net.keras", repr(name))
    assert [path.name for path in tmp_path.rglob("*")] == ["inner", "net.keras"]


def test_an_archive_that_unpacks_to_far_more(tmp_path):
    path = nets.save(nets.shared("sequential")[0], tmp_path / "net.keras")
    repack(path, **{"config.json": b" " * (1 << 26)})
    assert path.stat().st_size < 1 << 20
    refused(path, "config.json", "67,108,864 bytes")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "[1, 2]", '"net"', "{", '{"class_name": "Functional"}', "{}"]
)
def test_a_configuration_that_is_none(tmp_path, text):
    path = nets.save(nets.shared("sequential")[0], tmp_path / "net.keras")
    repack(path, **{"config.json": text.encode()})
    refused(path, "Keras")
    net = nets.build("sequential")
    net.save(tmp_path / "net.h5")
    with h5py.File(tmp_path / "net.h5", "r+") as file:
        file.attrs["model_config"] = text
    refused(tmp_path / "net.h5", "Keras")


def weights_of(path, edit):
    """Let `edit` change the open HDF5 file of weights, or of the whole net."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            edit(file["model_weights"])
        return
    config, weights = archive.unpack(path)
    buffer = io.BytesIO(weights)
    with h5py.File(buffer, "r+") as file:
        edit(file)
    archive.write(path, config, buffer.getvalue())


def claims_much(group):
    group.create_dataset("much", (10**6, 10**6), "f4", chunks=(1000, 1000))


def links_out(group):
    group["out"] = h5py.ExternalLink("/etc/hostname.h5", "data")


def links_about(group):
    group["about"] = h5py.SoftLink("/somewhere")


def holds_objects(group):
    group["objects"] = np.array([b"text"], object)


def goes_in_circles(group):
    group["again"] = group


@pytest.mark.parametrize(
    ("edit", "word"),
    [(claims_much, "does not hold"), (links_out, "link"), (links_about, "link"), (holds_objects, "numbers")],
)
def test_weights_that_are_no_plain_numbers(forge, edit, word):
    path = forge(lambda config: None)
    weights_of(path, edit)
    refused(path, word)


def test_weights_named_again_and_again(harmless, tmp_path):
    path = tmp_path / "net.h5"
    shutil.copy(harmless / "net.h5", path)
    with h5py.File(path, "r+") as file:
        group = file["model_weights/scores"]
        group.attrs["weight_names"] = [group.attrs["weight_names"][0]] * 1000
    refused(path, "twice")


def test_an_operation_on_constants():
    """Keras computes it while it builds the net."""
    node = {"module": "keras.src.ops.numpy", "class_name": "Add", "registered_name": "Add", "config": {}}
    with pytest.raises(InputError, match="constants"):
        trust.check({"layers": [node | {"inbound_nodes": [{"args": [[[1.0]] * 9000, [[1.0] * 9000]]}]}]}, "x")


@pytest.mark.parametrize("name", ["model.weights.h5", "config.json", "net.h5"])
def test_flipped_bytes_are_one_line(harmless, tmp_path, name):
    """Where a file is damaged anywhere, it loads or is refused; nothing else."""
    with zipfile.ZipFile(harmless / "net.keras") as file:
        whole = (harmless / name).read_bytes() if name == "net.h5" else file.read(name)
    rng, refusals = np.random.default_rng(0), 0
    for _ in range(25):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), 30):
            damaged[at] = rng.integers(256)
        path = tmp_path / ("net.h5" if name == "net.h5" else "net.keras")
        if name == "net.h5":
            path.write_bytes(damaged)
        else:
            shutil.copy(harmless / "net.keras", path)
            repack(path, **{name: bytes(damaged)})
        try:
            netfiles.load(path)
        except InputError as error:
            assert "\n" not in str(error)
            refusals += 1
    assert refusals


def test_weights_that_go_in_circles_do_not_hang(forge):
    path = forge(lambda config: None)
    weights_of(path, goes_in_circles)
    netfiles.load(path)


def test_weights_of_another_shape(forge):
    refused(forge(resize(scores={"units": 10})), "Keras cannot load this net")


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (resize(images={"batch_shape": [32, 12, 10, 3]}), ["32 images"]),
        (resize(conv={"data_format": "channels_first"}), []),
        (resize(images={"dtype": "uint8"}), []),
        (resize(images={"batch_shape": [None, 0, 10, 3]}), []),
        (resize(conv={"dtype": "mixed_float16"}), ["'conv'", "float16"]),
    ],
)
def test_nets_that_cannot_be_run_here(forge, edit, words):
    refused(forge(edit), *words)


def test_files_that_are_no_nets(tmp_path):
    (tmp_path / "folder").mkdir()
    refused(tmp_path / "folder", "is a folder")
    (tmp_path / "folder/saved_model.pb").touch()
    refused(tmp_path / "folder", "SavedModel", "model.save('net.keras')")
    with zipfile.ZipFile(tmp_path / "net.pt", "w") as file:
        file.writestr("archive/data.pkl", b"cos\nsystem\n.")
    refused(tmp_path / "net.pt", "PyTorch", "unpickling")
    (tmp_path / "old.bin").write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.")
    refused(tmp_path / "old.bin", "PyTorch")
    (tmp_path / "net.onnx").write_bytes(b"\x08\x07\x12\x07pytorch")
    refused(tmp_path / "net.onnx", "ONNX")
    (tmp_path / "net.tflite").write_bytes(b"\x1c\0\0\0TFL3")
    refused(tmp_path / "net.tflite", "TensorFlow Lite")
    refused(tmp_path / "missing.h5", "no such file")
    (tmp_path / "text.h5").write_text("hello")
    refused(tmp_path / "text.h5", "HDF5")
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file["data"] = np.zeros(3)
    refused(tmp_path / "images.h5", "no net")
    net = nets.build("sequential")
    net.save(tmp_path / "net.h5")
    whole = (tmp_path / "net.h5").read_bytes()
    (tmp_path / "net.h5").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "net.h5", "cut short")

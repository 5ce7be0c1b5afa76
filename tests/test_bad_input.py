"""Bad input: one clear line that says which file and what, nothing written, nothing run."""

import re
import signal
import subprocess
import sys
import time
import zipfile

import h5py
import numpy as np
import pytest

import nets
from conftest import NO_RESULTS, ROOT, run_stage
from goodnet.errors import InputError
from goodnet.images import datasets
from goodnet.images.inputs import Input
from goodnet.nets import loading
from workbench import suspecting

PICTURES = nets.pictures(20)
FLAGS = {
    "net": "it",
    "badnet": "net.keras",
    "valid": "valid.h5",
    "layer": "layer.json",
    "needed": "needed.json",
}
FLAGS |= {"channels": "channels.csv", "activations": "act.h5"}
PROFILE = [sys.executable, ROOT / "stages/profile_channels.py"]
PROFILE += [f"--{flag}={value}" for flag, value in FLAGS.items()]


@pytest.fixture
def folder(tmp_path):
    nets.save(nets.shared("sequential")[0], tmp_path / "net.keras")
    write_images(tmp_path / "valid.h5")
    configure(tmp_path)
    (tmp_path / "layer.json").write_text('{"layer": "pool"}')
    (tmp_path / "needed.json").write_text('{"needed": true}')
    return tmp_path


def configure(folder, layer="null", repairs="{}"):
    (folder / "params.yaml").write_text(
        f"nets: {{it: {{input_max: 255}}}}\nprofile: {{layer: {layer}}}\nrepairs: {repairs}\n"
        "prune: {order: ascending}\nrankings: {ascending: }\ntunings: {sparsify: }\n"
    )


def write_images(path, data=None, label=None):
    data = np.moveaxis(PICTURES, -1, 1) if data is None else data
    with h5py.File(path, "w") as file:
        if data is not False:
            file["data"] = data
        if label is not False:
            file["label"] = np.zeros(len(PICTURES)) if label is None else label


def refused(ask, *words):
    """It must refuse, in one line with these words."""
    with pytest.raises(InputError) as error:
        ask()
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def read(path):
    return list(datasets.Images(path, nets.SHAPE, nets.CLASSES).blocks())


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
def test_bad_images(tmp_path, images, words):
    path = tmp_path / "valid.h5"
    write_images(path, **images)
    refused(lambda: read(path), f"{path}: ", *words)


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
def test_data_that_points_out_of_its_file(tmp_path, point, words):
    path = tmp_path / "valid.h5"
    write_images(path)
    write_images(tmp_path / "other.h5")
    with h5py.File(path, "r+") as file:
        point(file, str(tmp_path / "other.h5"))
    refused(lambda: read(path), f"{path}: ", "'data'", words)


def test_files_that_are_none(folder):
    for name, ask, words in (("valid.h5", read, "HDF5"), ("net.keras", loading.load, "Keras")):
        path = folder / name
        whole = path.read_bytes()
        for content in (b"", b"hello", whole[: len(whole) // 2]):
            path.write_bytes(content)
            refused(lambda ask=ask, path=path: ask(path), f"{path}: ", words)
        path.unlink()
        refused(lambda ask=ask, path=path: ask(path), f"{path}: no such file")


def test_a_file_damaged_in_the_middle(tmp_path):
    path = tmp_path / "valid.h5"
    with h5py.File(path, "w") as file:
        noise = np.random.default_rng(0).integers(0, 256, (20, 3, 12, 10))
        data = file.create_dataset("data", data=noise, chunks=(5, 3, 12, 10), compression="gzip")
        file["label"] = np.zeros(20)
        chunk = data.id.get_chunk_info(2)
    with path.open("r+b") as file:
        file.seek(chunk.byte_offset)
        file.write(bytes(chunk.size))
    refused(lambda: read(path), f"{path}: is damaged")


@pytest.mark.parametrize("layout", ["channels first", "channels last"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.int16])
def test_data_of_any_layout_and_type(tmp_path, layout, dtype):
    path = tmp_path / "valid.h5"
    shown, labels = nets.pictures(30), np.arange(30) % nets.CLASSES
    with h5py.File(path, "w") as file:
        if layout == "channels first":
            file["data"], file["label"] = np.moveaxis(shown, -1, 1).astype(dtype), labels.astype(float)
        else:
            file.create_dataset("data", data=shown.astype(dtype), compression="gzip", chunks=(7, 5, 5, 3))
            file["label"] = labels.astype(np.int32)[:, None]
    images = datasets.Images(path, nets.SHAPE, nets.CLASSES)
    blocks = list(images.blocks(most=13))
    assert [len(block) for block in blocks] == [13, 13, 4] and blocks[0].dtype == np.float32
    assert np.array_equal(np.concatenate(blocks), shown) and np.array_equal(images.labels, labels)
    divided = np.concatenate(list(datasets.Images(path, nets.SHAPE, None, Input(range=[0.0, 1.0])).blocks()))
    np.testing.assert_allclose(divided, shown / 255, rtol=1e-6)


# Through the stages: nothing is left behind.


def stage_refuses(folder, name, flags, *words):
    before = {path.name for path in folder.iterdir()}
    refused(lambda: run_stage(folder, name, **flags), *words)
    assert {path.name for path in folder.iterdir()} == before


def test_stages_refuse_images_and_nets(folder):
    write_images(folder / "valid.h5", data=PICTURES + 3)
    stage_refuses(folder, "profile_channels", FLAGS, "valid.h5: images 0 to 19 hold values outside 0 to 255")
    (folder / "net.keras").write_bytes(b"hello")
    stage_refuses(folder, "profile_channels", FLAGS, "net.keras: is not a net")


def test_stages_refuse_layers_and_parameters(folder):
    flags = {"badnet": "net.keras", "layer": "a.json", "curve": "b.json"}
    configure(folder, layer="pool_9")
    stage_refuses(folder, "examine", flags, "net.keras: has no layer 'pool_9'", "conv, pool")
    configure(folder, repairs="{../../x: {drop: 2}}")
    stage_refuses(folder, "examine", flags, "params.yaml: the repair '../../x'", "a file's name")
    configure(folder, repairs="{x: {tune: sparsify, from: 70, to: 50}}")
    stage_refuses(folder, "examine", flags, "params.yaml: repairs.x: from 70 to 50 percent")
    (folder / "curve.csv").write_text("channels_pruned,layer,channel,correct,images,clean_accuracy\n")
    suspecting(folder / "suspects.h5", [])
    files = {"layer": "layer.json", "curve": "curve.csv", "evidence": "suspects.h5", "plans": "plans"}
    stage_refuses(folder, "plan", files | NO_RESULTS, "repairs.x: from 70 to 50")
    (folder / "params.yaml").write_text("nets: {it: {input_max: 256}}\nprune: {order: upwards}\n")
    stage_refuses(folder, "profile_channels", FLAGS, "nets.it.input_max is 256")
    (folder / "channels.csv").write_text("layer,channel\n")
    files = {name: FLAGS[name] for name in ("net", "badnet", "valid", "channels")}
    stage_refuses(
        folder, "rank", files | {"ranking": "r.csv"}, "prune.order is 'upwards'; it can be ascending"
    )


def test_a_command_ends_with_one_line_and_no_traceback(folder):
    (folder / "net.keras").unlink()
    done = subprocess.run(PROFILE, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: net.keras: no such file\n"
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
    inputs = {"net.keras", "params.yaml", "valid.h5", "layer.json", "needed.json"}
    assert {path.name for path in folder.iterdir()} == inputs


def test_a_stage_that_is_killed_leaves_nothing_under_an_outputs_name(folder):
    (folder / "old.csv").write_text("old")
    program = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[1])\n"
        "from goodnet.files import outputs\n"
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

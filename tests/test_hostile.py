"""Files that somebody made to do harm: each ends in one line, at once."""

import os
import zipfile

import numpy as np
import pytest

from goodnet.cli import main
from goodnet.errors import InputError
from goodnet.files import rebuilt, trust
from goodnet.images import arrays
from goodnet.nets import netfiles, splitting
from goodnet.pruning import channels


def header(shape, text=None):
    """An array as NumPy saves it, without its numbers."""
    text = text or repr({"descr": "<f4", "fortran_order": False, "shape": shape})
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def refused(folder, match, kind=zipfile.ZIP_DEFLATED, damage=None, **entries):
    path = folder / "images.npz"
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in entries.items():
            archive.writestr(f"{name}.npy", content)
    if damage:
        path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=match) as error:
        arrays.copy(path, folder / "images.h5")
    assert len(str(error.value)) < len(str(path)) + 300


@pytest.mark.parametrize("shape", [(2**62, 0), (0, 2**70), (-4, -3), (1,) * 40])
def test_a_shape_that_no_images_have(tmp_path, shape):
    refused(tmp_path, "shape", data=header(shape))


def test_a_header_nested_too_deep_to_be_read(tmp_path):
    refused(tmp_path, "NumPy", data=header(None, "-" * 9000 + "1"))


@pytest.mark.parametrize("kind", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_compressed_numbers(tmp_path, kind):
    def damage(content):
        return content[:200] + bytes(byte ^ 0x5A for byte in content[200:400]) + content[400:]

    numbers = np.random.default_rng(0).bytes(1440)
    refused(tmp_path, "damaged", kind, damage, data=header((360,)) + numbers)


def test_an_archive_cut_in_the_middle(tmp_path):
    def damage(content):
        return content[:2000] + content[content.find(b"PK\x01\x02") :]

    refused(tmp_path, "damaged", damage=damage, data=header((10**6,)) + os.urandom(4 * 10**6))


def test_an_archive_of_many_arrays_is_not_listed_whole(tmp_path):
    refused(tmp_path, "has no array", **{f"a{number}": b"" for number in range(2000)})


# Configurations and options.


def around_in_circles():
    """A pooling layer fed by a batch normalisation that it feeds."""

    def layer(kind, name, fed_by):
        tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": [fed_by, 0, 0]}}
        nodes = [{"args": [tensor], "kwargs": {}}]
        return {"class_name": kind, "config": {"name": name}, "name": name, "inbound_nodes": nodes}

    entries = [layer("BatchNormalization", "norm", "pool"), layer("MaxPooling2D", "pool", "norm")]
    return {"class_name": "Functional", "config": {"layers": entries, "output_layers": [["pool", 0, 0]]}}


def test_layers_in_circles_do_not_hang():
    config = around_in_circles()
    assert channels.find(config, "net", "pool") == channels.PrunedLayer("pool")
    assert splitting.find(config, "net") in ("pool", "norm", None)


def test_layers_without_end_are_one_line():
    entry = {"class_name": "Dense", "config": {"name": "a"}}
    with pytest.raises(InputError, match=r"^net: has 3,001 layers, too many$"):
        trust.check({"class_name": "Sequential", "config": {"layers": [entry] * 3001}}, "net")


@pytest.mark.parametrize("nodes", [[], [{}], [{"args": [[1]]}], [{"args": [[1, 2]]}] * 2, 7, None])
def test_a_scale_layer_that_is_none_is_left_for_the_checks(nodes):
    entry = {
        "module": "keras.src.applications.inception_resnet_v2",
        "class_name": "CustomScaleLayer",
        "config": {"name": "a", "scale": 1},
        "inbound_nodes": nodes,
    }
    config = {"class_name": "Functional", "config": {"layers": [entry]}}
    with pytest.raises(InputError, match="CustomScaleLayer"):
        trust.check(rebuilt.plain(config), "net")


@pytest.mark.parametrize(
    "text",
    [
        "{range: []}", "{range: [0]}", "{range: [1, 1]}", "{range: [0, .inf]}", "{range: [0, 1e308]}",
        "{range: [.nan, 1]}", "{std: [1e-300]}", "{mean: [1e9]}", "[" * 5000, "&a [*a]", "7",
        "{range: !!python/object:os.system []}",
    ],
)  # fmt: skip
def test_an_input_that_is_none_is_one_line(text):
    with pytest.raises(InputError) as error:
        main.main(["classify", __file__, __file__, "--input", text])
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_a_zip_with_a_broken_directory_is_one_line(tmp_path):
    path = tmp_path / "net.keras"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", "{}")
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02")] = 0
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not a net saved by Keras 3"):
        netfiles.load(path)

"""Files that somebody made to do harm: each ends in one line, at once."""

import os
import zipfile

import numpy as np
import pytest

from goodnet.errors import InputError
from goodnet.images import arrays


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

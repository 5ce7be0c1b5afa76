"""The net files of a folder, and what the nets are called in the results."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from goodnet.errors import InputError
from goodnet.files import trust

SUFFIXES = (".keras", ".h5", ".hdf5")
OTHERS = {
    ".pt": "a PyTorch file",
    ".pth": "a PyTorch file",
    ".onnx": "an ONNX file",
    ".pb": "a graph of TensorFlow",
    ".tflite": "a TensorFlow Lite file",
    ".safetensors": "a file of weights alone",
    ".pkl": "a pickle, which can run code of its author",
}
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Net:
    """A net file.

    Parameters
    ----------
    path : Path
    name : str
        Its path in the folder that was searched, with /.
    folder : str
        The name of its own folder in the results: letters that are plain everywhere, and no other net's.
    refused : str, optional
        Why it is not even opened, in words that follow its name.
    """

    path: Path
    name: str
    folder: str
    refused: str | None = None


def find(folder, others=()):
    """Return all Nets in a folder and those below, in order of their names.

    Hidden files and folders are passed over, and folders that are links are not followed.

    Parameters
    ----------
    folder : Path
    others : iterable of Path
        Files and folders that may lie there and are no nets: images, results.
    """
    others, found = {other.resolve() for other in others}, []
    for here, below, files in os.walk(folder, onerror=_raise):
        below[:] = [one for one in below if one[0] != "." and Path(here, one).resolve() not in others]
        for file in files:
            path = Path(here, file)
            suffix = path.suffix.lower()
            if file[0] != "." and suffix in (*SUFFIXES, *OTHERS) and path.resolve() not in others:
                found.append(_net(path, path.relative_to(folder).as_posix(), suffix))
    if not found:
        raise InputError(f"{folder}: holds no net ({', '.join(SUFFIXES)})")
    return sorted(found, key=lambda net: net.name)


def _raise(error):
    raise error


def _net(path, name, suffix):
    refused = None
    if suffix in OTHERS:
        refused = f"is {OTHERS[suffix]}; goodnet takes nets saved by Keras: .keras, .h5 or .hdf5"
    elif not path.is_file():
        refused = "is a link that leads nowhere" if path.is_symlink() else "is no file"
    elif path.stat().st_size > trust.MOST_BYTES:
        refused = f"is larger than {trust.MOST_BYTES / 1e9:g} GB, which no net that goodnet takes is"
    return Net(path, name, folder_for(name), refused)


def folder_for(name):
    """Return a folder's name for a net: its own where that is plain, else with a hash of its whole path.

    It depends on no other net, so that a result keeps its place. The two kinds cannot be the same: a plain
    one ends with the suffix of a net.
    """
    if PLAIN.fullmatch(name):
        return name
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:60]
    return f"{plain}-{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()[:12]}"

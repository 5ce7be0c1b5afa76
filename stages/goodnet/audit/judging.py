"""One net's `goodnet repair`, on a worker, which has no file of the user's but those that it is sent."""

import re
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from goodnet.audit import packing
from goodnet.cli import repair
from goodnet.errors import InputError

CODES = (repair.CLEAN, repair.REPAIRED, repair.CANNOT_TELL, repair.NOT_REPAIRED)


@dataclass(frozen=True)
class Task:
    """What a worker is to do.

    Parameters
    ----------
    words : list of str
        Of the command, from `repair` on. All files have the user's names, relative to the folder where they
        began, so that what the command writes and prints is what it would there.
    net, images, out : str
        These names.
    files : dict
        {name: bytes} of small files beside.
    is_folder : bool
        The images are a folder.
    digest, code : str
        SHA-256 of the images, and of goodnet.
    """

    words: list
    net: str
    images: str
    out: str
    files: dict
    is_folder: bool
    digest: str
    code: str


@dataclass(frozen=True)
class Judged:
    """What came of it.

    Parameters
    ----------
    seconds : float
    files : dict
        {name in the results: bytes}; none where there is an error.
    error : str, optional
        The line of it.
    is_input : bool
        The error is of the user's files or choices, so it would come again.
    """

    seconds: float
    files: dict
    error: str | None = None
    is_input: bool = False


def judge(fleet, images, net, task):
    """Judge and repair a net; return a Judged.

    Parameters
    ----------
    fleet : str
    images : bytes
        From `packing.pack`.
    net : bytes
    task : Task
    """
    from goodnet.fleet import child  # Dask comes with it

    if repair.own_digest() != task.code:
        raise InputError("its worker has other code of goodnet than this machine; install the same there")
    asking = child.Asking(fleet)
    kept = asking.scratch() / "images" / task.digest
    packing.unpack(images, task.is_folder, kept, lambda path: check(path, task.digest))
    with tempfile.TemporaryDirectory(dir=asking.scratch()) as scratch:
        here = place(Path(scratch), net, kept, task)
        log, began = Path(scratch) / "log", time.monotonic()
        # -P: no module of the folder that it runs in
        code = child.run(asking, ["-P", "-m", "goodnet.cli.main", *task.words], here, log)
        seconds = time.monotonic() - began
        if code in CODES:
            return Judged(seconds, results(here / task.out))
        said = log.read_text(encoding="utf-8", errors="replace").replace(f"{here}/", "")
        return Judged(seconds, {}, *error_of(code, said, task))


def check(images, digest):
    """Refuse images that are not those whose digest was taken: what is kept is found by it later."""
    if repair.digest_of(images) != digest:
        raise InputError("the images changed while they were read; run the same command again")


def place(scratch, net, images, task):
    """Lay the user's files out in a folder; return the one in it where the command is to run."""
    names = [task.net, task.images, task.out, *task.files]
    # So deep that names with .. stay in there. No such name leads back into a folder of this one's name.
    depth = max(name.split("/").count("..") for name in names)
    here = scratch.joinpath("files", *[uuid.uuid4().hex] * depth)
    here.mkdir(parents=True)
    for name in (task.images, task.net, *task.files):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
    (here / task.images).symlink_to(images)
    (here / task.net).write_bytes(net)
    for name, data in task.files.items():
        if not (here / name).exists():  # it may lie among the images
            (here / name).write_bytes(data)
    return here


def results(folder):
    """Return {name: bytes} of all files in a folder of results."""
    files = (path for path in folder.rglob("*") if path.is_file() and repair.WORK not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(files)}


def error_of(code, said, task):
    """Return the line of an error, and whether it is of the user's input, from what was printed."""
    lines = [line.removeprefix("error: ") for line in said.splitlines() if line.startswith("error: ")]
    if code == 2 and lines:
        names = (task.net, task.images, *task.files, "--")
        return lines[-1], lines[-1].startswith(names) and not _is_of_disk(lines[-1])
    last = next((line for line in reversed(said.splitlines()) if line.strip()), "it said nothing")
    ended = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return f"goodnet repair {ended}: {' '.join(last.split())}", False


def _is_of_disk(line):
    """Whether a line is what the system says of a full disk and the like, which passes."""
    return bool(re.search(r": (No space left on device|Disk quota exceeded|Input/output error)$", line))

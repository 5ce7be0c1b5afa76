"""Clean images as bytes that are sent to a worker, and what it makes of them there."""

import io
import os
import shutil
import tarfile
import uuid
from pathlib import PurePosixPath

from goodnet.errors import InputError


def pack(path):
    """Return a file as it is, or a folder as an uncompressed tar, with all that can matter of it."""
    if path.is_file():
        return path.read_bytes()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for one in sorted(path.rglob("*")):  # as `repair` sums a folder up
            member = tarfile.TarInfo(one.relative_to(path).as_posix())
            if one.is_dir():
                member.type = tarfile.DIRTYPE
                archive.addfile(member)
            elif one.is_file():
                with one.open("rb") as file:
                    member.size = os.fstat(file.fileno()).st_size
                    archive.addfile(member, file)
    return buffer.getvalue()


def unpack(data, is_folder, target, check):
    """Write what was packed to a path, whole or not at all, whoever else does the same.

    `check` is called on it first, and raises what is wrong.
    """
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        if is_folder:
            _extract(data, partial)
        else:
            partial.write_bytes(data)
        check(partial)
        try:
            partial.rename(target)
        except OSError:  # another thread was quicker
            if not target.exists():
                raise
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        partial.unlink(missing_ok=True)


def _extract(data, folder):
    """Write plain files and folders alone, and none outside."""
    folder.mkdir()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            name = PurePosixPath(member.name)
            if name.is_absolute() or ".." in name.parts or not (member.isreg() or member.isdir()):
                raise InputError(f"{member.name}: is nothing that an archive of images may hold")
            path = folder / name
            if member.isdir():
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                shutil.copyfileobj(archive.extractfile(member), file)

"""Build the wheel and the sdist into dist/, or another folder.

The same files and the same commit give the same bytes. They hold what git knows of the package, and nothing
else that lies about. The setuptools that is installed builds them, offline.
"""

import argparse
import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARTS = "stages/goodnet", "README.md", "LICENSE", "pyproject.toml", "requirements.txt"


def copied(folder):
    """Copy what is built into a folder, with the same modes whatever the umask is."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *PARTS]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in sorted({name for name in names if name and (ROOT / name).is_file()}):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
        (folder / name).chmod(0o644)


def built(kind, source, into, stamp):
    """Build the wheel or the sdist of a folder; return its path."""
    code = f"from setuptools import build_meta; build_meta.build_{kind}({str(into)!r})"
    environment = os.environ | {"SOURCE_DATE_EPOCH": stamp}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=source, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"error: the {kind} was not built:\n{done.stderr}")
    (path,) = into.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return path


def plain(sdist, stamp):
    """Return an sdist's bytes without owners, and with one time for all: setuptools writes those of here."""
    files = io.BytesIO()
    with (
        tarfile.open(sdist) as given,
        tarfile.open(fileobj=files, mode="w", format=tarfile.PAX_FORMAT) as made,
    ):
        for member in sorted(given.getmembers(), key=lambda member: member.name):
            clean = tarfile.TarInfo(member.name)
            clean.type, clean.size, clean.mtime = member.type, member.size, int(stamp)
            clean.mode = 0o755 if member.isdir() else 0o644
            made.addfile(clean, given.extractfile(member) if member.isfile() else None)
    return gzip.compress(files.getvalue(), mtime=int(stamp))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("dist"))
    folder = parser.parse_args().folder
    commit = ["git", "log", "-1", "--format=%ct"]
    stamp = (
        os.environ.get("SOURCE_DATE_EPOCH")
        or subprocess.run(commit, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    )
    os.umask(0o022)
    with tempfile.TemporaryDirectory() as temporary:
        source, made = Path(temporary) / "source", Path(temporary) / "made"
        copied(source)
        paths = [built(kind, source, made, stamp) for kind in ("sdist", "wheel")]
        paths[0].write_bytes(plain(paths[0], stamp))
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            shutil.copyfile(path, folder / path.name)
            print(folder / path.name)


if __name__ == "__main__":
    main()

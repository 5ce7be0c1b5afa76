"""Put files and their settings into a project all at once, or not at all.

All is made ready in .dvc/tmp, `dvc add` included. What follows are renames, noted beforehand: if the process
is killed between two of them, the next `goodnet add` does the rest.
"""

import configparser
import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from goodnet.cli import params_file, project
from goodnet.errors import InputError
from goodnet.files import outputs
from goodnet.images.inputs import Input

PREFIX, READY = "goodnet-add-", "ready.json"


@contextlib.contextmanager
def staged(folder):
    """Yield a Staged in a project; what is not placed in the end leaves nothing."""
    temporary = folder / ".dvc/tmp"
    if not temporary.parent.is_dir():
        raise InputError(f"{folder}: DVC does not know this project; run dvc init there")
    temporary.mkdir(exist_ok=True)
    with (temporary / "goodnet-add.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{folder}: another goodnet add is at work here; wait for it") from None
        for left in sorted(temporary.glob(f"{PREFIX}*/")):  # by one that was killed
            Staged(folder, left).place()
            shutil.rmtree(left)
        here = Path(tempfile.mkdtemp(prefix=PREFIX, dir=temporary))
        try:
            yield Staged(folder, here)
        finally:
            if not (here / READY).exists():  # else the next one does the rest
                shutil.rmtree(here)


class Staged:
    """Files of a net that are to be placed in a project, and lie where they will beside it.

    Parameters
    ----------
    folder, path : Path
        The project, and the folder that stands for it until all is ready.
    """

    def __init__(self, folder, path):
        self.folder, self.path = folder, path

    def make_ready(self, files, name, convert):
        """Give these files, as the project will call them, to DVC, and note what is to be done then.

        Parameters
        ----------
        files : list of Path
            Relative to the project.
        name : str
            The net's.
        convert : Input
        """
        (self.path / ".dvc").mkdir()
        (self.path / ".dvc/config").write_text(self._config(), encoding="utf-8")
        self._dvc(self.path, "add", "--quiet", *map(str, files))
        moves = [str(one) for file in files for one in (file, file.with_name(f"{file.name}.dvc"))]
        noted = {"moves": moves, "ignored": [str(file) for file in files if not self._is_ignored(file)]}
        noted |= {"net": name, "input": convert.model_dump()}
        outputs.write_json(self.path / READY, noted)

    def place(self):
        """Do what was noted, or the rest of it; nothing where all was not ready."""
        if not (self.path / READY).exists():
            return
        noted = outputs.read_json(self.path / READY)
        for name in noted["moves"]:
            source, target = self.path / name, self.folder / name
            if not source.exists():  # done already
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_dir():
                shutil.rmtree(target)
            source.replace(target)
        for file in map(Path, noted["ignored"]):
            listed = self.folder / file.parent / ".gitignore"
            lines = listed.read_text(encoding="utf-8").splitlines() if listed.exists() else []
            if f"/{file.name}" not in lines:
                outputs.write_text(listed, "\n".join([*lines, f"/{file.name}"]) + "\n")
        # As the file is now: it may have been edited meanwhile.
        params = project.params(self.folder)
        outputs.write_text(params.path, params_file.with_net(params, noted["net"], Input(**noted["input"])))
        (self.path / READY).unlink()

    def _config(self):
        """Return the project's settings of DVC, for a folder that is none of git's and shares its cache."""
        config = configparser.ConfigParser(interpolation=None, strict=False)
        config.read([self.folder / ".dvc/config", self.folder / ".dvc/config.local"], encoding="utf-8")
        for section in ("core", "cache"):
            if not config.has_section(section):
                config.add_section(section)
        config["core"]["no_scm"] = "true"
        config["cache"]["dir"] = self._dvc(self.folder, "cache", "dir").strip()
        return "\n".join(
            f"[{section}]\n" + "".join(f"    {key} = {value}\n" for key, value in config[section].items())
            for section in ("core", "cache")
        )

    def _is_ignored(self, file):
        if not shutil.which("git"):
            return True  # nobody asks
        asked = ["git", "check-ignore", "--quiet", "--no-index", str(file)]
        return subprocess.run(asked, cwd=self.folder, check=False, capture_output=True).returncode != 1

    def _dvc(self, where, *words):
        environment = os.environ | {
            "DVC_SITE_CACHE_DIR": str(self.path / ".dvc/site"),
            "DVC_NO_ANALYTICS": "1",
        }
        command = [sys.executable, "-m", "dvc", *words]
        done = subprocess.run(
            command, cwd=where, env=environment, check=False, capture_output=True, text=True
        )
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise InputError(f"dvc {words[0]}: {said[0] if said else 'failed'}")
        return done.stdout

"""A copy of the project to run DVC in, with the seconds and the peak memory of every stage that runs."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Stand in for `python` in the stages' commands: run it, and write down its seconds and peak memory.
# Two files, since a path with a space cannot stand after #!.
PYTHON = '#!/bin/sh\nexec {python} {timed} "$@"\n'
TIMED = """import json, os, subprocess, sys, time
started = time.monotonic()
process = subprocess.Popen([{python!r}, *sys.argv[1:]])
_, status, usage = os.wait4(process.pid, 0)
row = {{"command": sys.argv[1:], "seconds": time.monotonic() - started, "megabytes": usage.ru_maxrss / 1000}}
with open({log!r}, "a") as log:
    print(json.dumps(row), file=log)
sys.exit(os.waitstatus_to_exitcode(status))
"""


class Stopwatch:
    """The project's stages as they stand, in a folder of its own, with this params.yaml.

    Parameters
    ----------
    folder : Path
    params : str
        What params.yaml is to say.
    """

    def __init__(self, folder, params):
        self.folder, self.log = folder, folder / ".git" / "stages.log"
        for name in ("dvc.yaml", ".dvc/config", ".dvcignore", ".gitignore", "stages"):
            source, copy = ROOT / name, folder / name
            copy.parent.mkdir(exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
            else:
                shutil.copy(source, copy)
        (folder / "params.yaml").write_text(params, encoding="utf-8")
        python = folder / ".git" / "bin" / "python"
        subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
        python.parent.mkdir()
        timed = python.with_name("timed.py")
        timed.write_text(TIMED.format(python=sys.executable, log=str(self.log)))
        python.write_text(PYTHON.format(python=shlex.quote(sys.executable), timed=shlex.quote(str(timed))))
        python.chmod(0o755)
        self.environment = os.environ | {"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}

    def run(self, *command):
        """Run a command in the copy; return what it printed and its seconds."""
        started = time.monotonic()
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["it does not say why"]
            # A stage's own line comes before DVC's that it failed.
            why = next((line for line in lines if line.lower().startswith("error: ")), lines[-1])
            sys.exit(f"error: {' '.join(command)}: {why}")
        return done.stdout, time.monotonic() - started

    def dvc(self, *arguments):
        return self.run(sys.executable, "-m", "dvc", *arguments)

    def stages_run(self):
        """Return (stage and repair, seconds, megabytes) of what ran since last asked."""
        rows = [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        named = []
        for row in rows:
            stage = Path(row["command"][0]).stem
            words = [Path(word) for word in row["command"]]
            repair = [path.stem for path in words if path.parent.name == "repaired" and path.suffix != ""]
            named.append((f"{stage}@{repair[0]}" if repair else stage, row["seconds"], row["megabytes"]))
        return named

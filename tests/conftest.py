"""What the tests share: a tiny setting of the pipeline in a clone of its own, and stages as modules."""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
TINY = {  # seconds instead of minutes, but real: drawn, trained, pruned, evaluated
    "demo_data": {"people": 8, "images": {"train": 12, "valid": 10, "test": 6}},
    "demo_badnet": {"epochs": 12, "batch_size": 16},
    "relearn": {"epochs": 2},
    "suspect": {"images": 80, "occluders": 300},
}
# The folders from which plan removes results, where there are none.
NO_RESULTS = dict.fromkeys(
    ("repaired_nets", "repaired_metrics", "repaired_predictions", "goodnets", "goodnet_metrics"), "nothing"
)


def run_script(folder, path, *arguments):
    """Run a script's main in `folder` as its command does, without the seconds Python takes to start."""
    # By its path: a stage may have the name of a standard module (profile).
    spec = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    argv, sys.argv = sys.argv, [path.name, *arguments]
    try:
        with contextlib.chdir(folder):
            module.main()
    finally:
        sys.argv = argv


def run_stage(folder, name, **flags):
    arguments = [
        item for flag, value in flags.items() for item in (f"--{flag.replace('_', '-')}", str(value))
    ]
    run_script(folder, ROOT / "stages" / f"{name}.py", *arguments)


def assert_repaired(badnet, goodnet):
    """What a repair must come to that is recommended: the backdoor gone, the accuracy kept."""
    assert badnet["clean_accuracy"] - goodnet["clean_accuracy"] <= 1
    assert set(goodnet["attack_success"]) == set(badnet["attack_success"])
    assert max(goodnet["attack_success"].values()) <= 0.5
    assert min(goodnet["detected"].values()) >= 99
    assert goodnet["false_alarm"] <= 1


class Project:
    """A clone of the project as it stands, to run DVC in and to edit."""

    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DVC_NO_ANALYTICS": "1",
    }

    def __init__(self, path, tiny=True):
        self.path = path
        tracked = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split("\0")
        for name in filter(None, tracked):
            # Results are made here; those in git are of another setting.
            if (ROOT / name).is_file() and not name.startswith("reports/") and name != "dvc.lock":
                (path / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, path / name)
        self.git("init", "-q", "-b", "main")
        self.git("config", "user.name", "test")
        self.git("config", "user.email", "test@localhost")
        if tiny:
            params = self.params()
            for block, settings in TINY.items():
                params[block].update(settings)
            self.write_params(params)
        self.commit("the project")

    def copied(self, path):
        copy = object.__new__(Project)
        copy.path = path
        shutil.copytree(self.path, path, symlinks=True)
        return copy

    def cloned(self, path):
        """A clone as git makes it: what is committed, and no results."""
        clone = object.__new__(Project)
        clone.path = path
        self.git("clone", "-q", ".", path)
        return clone

    def run(self, *command, check=True):
        done = subprocess.run(
            command, cwd=self.path, env=self.environment, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
        return done

    def git(self, *args):
        return self.run("git", *args)

    def dvc(self, *args, check=True):
        return self.run(sys.executable, "-m", "dvc", *args, check=check)

    def stages(self, *args, check=True):
        """Run dvc repro; return the names of the stages that ran, and of those restored from the cache."""
        lines = self.dvc("repro", *args, check=check).stdout.splitlines()
        named = {line: line.split("'")[1] for line in lines if "tage '" in line}
        return (
            {name for line, name in named.items() if line.startswith("Running stage ")},
            {name for line, name in named.items() if "is cached - skipping run" in line},
        )

    def repro(self, *args, check=True):
        """Run dvc repro; return the names of the stages that ran."""
        return self.stages(*args, check=check)[0]

    def commit(self, message):
        self.git("add", "-A")
        self.git("commit", "-qm", message)

    def params(self):
        return yaml.safe_load((self.path / "params.yaml").read_text())

    def write_params(self, params):
        (self.path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory):
    """The tiny pipeline after one dvc repro, committed. Tests may read it; those that edit take `project`."""
    # A space in the path, since users' folders have them.
    project = Project(tmp_path_factory.mktemp("a clone") / "")
    project.first_run = project.repro()
    project.commit("results")
    return project


@pytest.fixture
def project(reproduced, tmp_path):
    """A copy of the reproduced project, with its cache, to edit."""
    return reproduced.copied(tmp_path / "edited clone")

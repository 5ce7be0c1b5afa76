"""What the tests share: a tiny setting of the pipeline in a clone of its own, and stages as modules."""

import contextlib
import fcntl
import functools
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
TINY = {  # seconds instead of minutes, but real: drawn, trained, pruned, relearned, evaluated
    "demo_data": {"people": 8, "images": {"train": 12, "valid": 10, "test": 6}},
    "demo_badnet": {"epochs": 12, "batch_size": 16},
    "repairs": {"relearned": {"tune": "relearn"}, "x10": {"drop": 10}},
    "tunings": {"relearn": {"epochs": 2}},
    "detectors": {
        "occluders": {"images": 80, "occluders": 300},
        "push": {"images": 4, "steps": 3},
        # With such a ratio some class is always named, so that there is something to attack in repaired nets.
        "inversion": {
            **{"images": 60, "classes": 4, "steps": 10, "batch_size": 4},
            **{"ratio": 0.9, "harmless": 0.95},
        },
    },
}
QUICK = {  # the same for small nets that are handed in, of which no pipeline is made
    "recommend": {"held_out": 20},
    "suspect": {"detectors": ["occluders", "inversion"]},
    "detectors": {
        "occluders": {"images": 40, "occluders": 200},
        "inversion": {"images": 40, "steps": 20},
    },
    "tunings": {"fine_tune": {"epochs": 1}, "relearn": {"epochs": 1}},
}
# The folders from which plan removes results, where there are none.
NO_RESULTS = dict.fromkeys(
    ("repaired_nets", "repaired_metrics", "repaired_predictions", "goodnets", "goodnet_metrics", "attacks"),
    "nothing",
)


@functools.cache
def script(path):
    """Return a script as a module, which is loaded once."""
    spec = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_script(folder, path, *arguments):
    """Run a script's main in `folder` as its command does, without the seconds Python takes to start."""
    main, argv = script(path).main, sys.argv
    sys.argv = [path.name, *arguments]
    try:
        with contextlib.chdir(folder):
            main()
    finally:
        sys.argv = argv


def stage(name):
    """Return a stage as it stands in its script."""
    return script(ROOT / "stages" / f"{name}.py").main


def run_stage(folder, name, **flags):
    words = [word for flag, value in flags.items() for word in (f"--{flag.replace('_', '-')}", str(value))]
    with contextlib.chdir(folder):
        stage(name)(words)


def assert_repaired(badnet, goodnet):
    """What a repair must come to that is recommended: the backdoor gone, the accuracy kept."""
    assert badnet["clean_accuracy"] - goodnet["clean_accuracy"] <= 1
    assert set(goodnet["attack_success"]) == set(badnet["attack_success"])
    assert max(goodnet["attack_success"].values()) <= 0.5
    assert min(goodnet["detected"].values()) >= 99
    assert goodnet["false_alarm"] <= 1


def resolved(text, params):
    """Return words of dvc.yaml with the parameters they name, `${badnet}`, put in."""

    def value(found):
        block = params
        for key in found[1].split("."):
            block = block[key]
        return str(block)

    return re.sub(r"\$\{([\w.]+)\}", value, text)


def merged(params, changes):
    """Return parameters with these changes, block by block."""
    blocks = {
        key: merged(params.get(key) or {}, value) if isinstance(value, dict) else value
        for key, value in changes.items()
    }
    return params | blocks


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
            params["repairs"] = {}
            self.write_params(merged(params, TINY))
        self.commit("the project")

    @classmethod
    def at(cls, path):
        """The project that stands at `path` already."""
        project = object.__new__(cls)
        project.path = path
        return project

    def copied(self, path):
        shutil.copytree(self.path, path, symlinks=True)
        return self.at(path)

    def cloned(self, path):
        """A clone as git makes it: what is committed, and no results."""
        self.git("clone", "-q", ".", path)
        return self.at(path)

    def run(self, *command, check=True, **environment):
        environment = self.environment | environment
        done = subprocess.run(
            command, cwd=self.path, env=environment, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
        return done

    def python(self, *words):
        """Run Python with the package of this clone."""
        return self.run(sys.executable, *map(str, words), PYTHONPATH=str(self.path / "stages"))

    def goodnet(self, *words):
        """Run the command goodnet, as this clone has it."""
        return self.python("-m", "goodnet.cli.main", *words)

    @contextlib.contextmanager
    def started(self, command):
        """Start a command as a terminal does, in a process group of its own, all killed in the end."""
        process = subprocess.Popen(
            command,
            cwd=self.path,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # A shell that runs the tests in the background has its children ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.stdout.close()

    def git(self, *args):
        return self.run("git", *args)

    def dvc(self, *args, check=True, **environment):
        return self.run(sys.executable, "-m", "dvc", *args, check=check, **environment)

    def stages(self, *args, check=True):
        """Run dvc repro; return the names of the stages that ran, and of those restored from the cache."""
        said = self.dvc("repro", *args, check=check).stdout
        return self.named(said, "Running stage "), self.named(said, "is cached - skipping run")

    @staticmethod
    def named(said, words):
        """Return the stages in the lines with these words of what DVC said."""
        return {line.split("'")[1] for line in said.splitlines() if words in line}

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


def once(tmp_path_factory, name, make):
    """Return the folder `name` that all workers share, made by the first that needs it."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / name
    with (shared / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            made = shared / f".{name}.partial"
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir()
            make(made)
            made.rename(folder)
    return folder


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory):
    """The tiny pipeline after one dvc repro, committed. Tests may read it; those that edit take `project`."""

    def make(path):
        project = Project(path)
        first_run = sorted(project.repro())
        project.commit("results")
        (path / ".git" / "first_run.json").write_text(json.dumps(first_run))

    # A space in the path, since users' folders have them.
    return Project.at(once(tmp_path_factory, "a clone", make))


@pytest.fixture
def project(reproduced, tmp_path):
    """A copy of the reproduced project, with its cache, to edit."""
    return reproduced.copied(tmp_path / "edited clone")


def pytest_collection_modifyitems(items):
    """Begin with what takes longest, so that no worker is left alone with it in the end."""

    def minutes(item):
        mark = item.get_closest_marker("long")
        return mark.kwargs.get("minutes", 0) if mark else 0

    items.sort(key=lambda item: ("reproduced" not in item.fixturenames, -minutes(item)))

"""The wheel and the sdist: what is in them, and that an environment of the wheel alone does all of it."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from PIL import Image

from conftest import ROOT, TINY, Project, merged
from goodnet.cli import __version__, main

VERSIONS = "3.11", "3.12", "3.13"
UNSET = "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV"
RUNNING = "{}.{}".format(*sys.version_info)


def build(folder):
    """Return the paths of the wheel and the sdist, built as make build does."""
    subprocess.run(
        [sys.executable, ROOT / "tools/build.py", folder], check=True, cwd=ROOT, stdout=subprocess.DEVNULL
    )
    return next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))


def test_wheel_and_sdist_hold_the_package_alone_and_are_built_the_same_again(tmp_path):
    wheel, sdist = build(tmp_path / "one")
    for path in build(tmp_path / "two"):
        assert path.read_bytes() == (tmp_path / "one" / path.name).read_bytes()

    ours = {path for path in (ROOT / "stages/goodnet").rglob("*") if path.is_file()}
    ours = {path for path in ours if path.parent.name != "__pycache__"}
    own = f"goodnet-{__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if not name.startswith(own)}
        assert found == {str(path.relative_to(ROOT / "stages")) for path in ours}
        assert all(archive.read(name) == (ROOT / "stages" / name).read_bytes() for name in found)
        metadata = archive.read(f"{own}/METADATA").decode()
        assert archive.read(f"{own}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    fields, _, description = metadata.partition("\n\n")
    assert description.strip() == (ROOT / "README.md").read_text(encoding="utf-8").strip()
    for field in (
        f"Version: {__version__}",
        "License-Expression: MIT",
        "Description-Content-Type: text/markdown",
        "Requires-Python: <3.14,>=3.11",
    ):
        assert field in fields.splitlines()
    wanted = re.findall(r"^([\w.-]+)>", (ROOT / "requirements.txt").read_text(), re.M)
    assert re.findall(r"^Requires-Dist: ([\w.-]+)", fields, re.M) == wanted

    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        assert {member.uid for member in archive} == {0}
        stamp = str(int(min(member.mtime for member in archive)))
    tops = {name.split("/")[0] for name in names if name}
    assert tops == {
        "LICENSE",
        "PKG-INFO",
        "README.md",
        "pyproject.toml",
        "requirements.txt",
        "setup.cfg",
        "stages",
    }
    flags = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *flags, "--wheel-dir", tmp_path / "three", sdist],
        env=os.environ | {"SOURCE_DATE_EPOCH": stamp},
        check=True,
        stderr=subprocess.DEVNULL,
    )
    assert (tmp_path / "three" / wheel.name).read_bytes() == wheel.read_bytes()


def interpreter(version):
    """Return a Python of this version that can make environments, None where there is none."""
    if version == RUNNING:
        return sys._base_executable
    own = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    for path in filter(None, (*map(str, own), shutil.which(f"python{version}"))):
        code = "import ensurepip, sys; print('{}.{}'.format(*sys.version_info))"
        said = subprocess.run([path, "-c", code], capture_output=True, text=True, check=False)
        if said.stdout.strip() == version:
            return path
    return None


class Environment:
    """An environment with nothing but the wheel and what it needs, used from outside of the repository."""

    def __init__(self, path, python):
        self.path = path
        # As a user has it: what runs the tests is not found, and modules are compiled once.
        self.environment = {name: value for name, value in os.environ.items() if name not in UNSET}
        self.environment |= {"PATH": f"{path / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin"}
        self.run(python, "-m", "venv", path)

    def run(self, *words, cwd=None, codes=(0,)):
        done = subprocess.run(
            list(map(str, words)),
            cwd=cwd,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in codes, f"{words}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout

    def install(self, *words):
        pip = self.path / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"
        self.run(*pip, "--no-compile", *words)  # what is used is compiled when it is used


@pytest.mark.parametrize(
    "version",
    [
        pytest.param(version, marks=[pytest.mark.smoke, *[pytest.mark.long(minutes=3)][: version == RUNNING]])
        for version in VERSIONS
    ],
)
def test_an_environment_of_the_wheel_alone_does_all_of_it(version, tmp_path):
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version} with venv, in the PATH or in ~/.pyenv: install one")
    wheel, _ = build(tmp_path / "dist")
    try:
        environment = Environment(tmp_path / "environment", python)
        environment.install("--require-hashes", "-r", ROOT / "requirements.lock")
        environment.install("--no-deps", "--no-index", wheel)
        use(environment, tmp_path)
    finally:
        shutil.rmtree(tmp_path / "environment", ignore_errors=True)  # gigabytes


def use(environment, folder):
    """Use all of it, as from a terminal: the commands, a project, the code in the pages."""

    def run(*words, **options):
        return environment.run(*words, cwd=folder, **options)

    run("python", "-m", "pip", "check")
    assert run("goodnet", "--version") == f"goodnet {__version__}\n"
    where = "import goodnet; print(goodnet.__file__)"
    assert Path(run("python", "-c", where).strip()).is_relative_to(environment.path)
    for command in main.COMMANDS:
        assert f"goodnet {command}" in run("goodnet", command, "--help")

    run("goodnet", "init", "a lab")
    project = Project.at(folder / "a lab")
    params = project.params() | {"repairs": {}}
    project.write_params(merged(params, TINY))
    lab = folder = project.path
    ran = Project.named(run("dvc", "repro"), "Running stage ")
    assert {"demo_data", "repair@relearned", "recommend", "report"} <= ran
    assert (lab / "reports/README.md").is_file() and (lab / "reports/index.html").is_file()
    assert Project.named(run("dvc", "repro"), "Running stage ") == set()

    net, valid, test = "models/demo/badnet.keras", "data/demo/valid.h5", "data/demo/test.h5"
    judged = json.loads(run("goodnet", "suspect", net, valid, "--json", codes=(0, 1, 3)))
    assert judged["verdict"]
    with h5py.File(lab / test) as file:
        Image.fromarray(np.moveaxis(file["data"][0], 0, -1).astype(np.uint8)).save(lab / "face.png")
    assert run("goodnet", "classify", "models/goodnet/relearned.keras", "face.png").startswith("face.png: ")
    poisoned = "data/demo/poisoned/sticker.h5"
    assert len(run("goodnet", "eval", test, poisoned, net).splitlines()) == 2
    settings = ["--params", "params.yaml", "--repairs", "relearned", "--out", "repaired"]
    run("goodnet", "repair", net, valid, *settings, "--quiet", codes=(0, 1, 3, 4))
    assert (lab / "repaired/index.html").is_file()
    page = ROOT / "docs/api.md"
    if page.exists():
        code = "\n".join(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S))
        run("python", "-c", code)

    for name in (net, valid, test, poisoned):
        shutil.copy(lab / name, lab.parent)
    given = ["--net", "../badnet.keras", "--valid", "../valid.h5", "--test", "../test.h5"]
    run("goodnet", "add", "mine", *given, "--poisoned", "patch=../sticker.h5", "--input-max", "255")
    assert yaml.safe_load((lab / "params.yaml").read_text())["badnet"] == "mine"
    assert "up to date" in run("dvc", "status", "models/mine/badnet.keras.dvc")
    assert run("goodnet", "init", "--upgrade") == "up to date: nothing was written\n"
    assert ".h5\n" not in run("git", "status", "--porcelain", "--untracked-files=all")

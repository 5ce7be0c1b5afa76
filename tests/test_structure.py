"""dvc.yaml against the code, rooms that import as they should, and imports that change nothing."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from conftest import ROOT, stage

BODIES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
STAGES = {name: body.get("do", body) for name, body in BODIES.items()}


def run_python(code, folder=ROOT / "stages"):
    """Run code in a process of its own, from the folder of the stages; return what it prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# dvc.yaml


def paths(entries):
    return {next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries}


def results(body):
    return paths(body.get("outs", [])) | paths(body.get("metrics", []))


def flags(name):
    words = shlex.split(STAGES[name]["cmd"])
    assert words[:2] == ["python", f"stages/{name}.py"]
    return dict(zip(words[2::2], words[3::2], strict=True))


def test_every_stage_has_its_script_and_every_script_its_stage():
    assert {path.stem for path in (ROOT / "stages").glob("*.py")} == set(STAGES)


def test_module_deps_are_all_that_a_stage_imports():
    """What Python imports when it runs each script, against what tools/deps.py reads from the source."""
    code = """
import json, runpy, sys
from pathlib import Path
used = {}
for script in sorted(Path.cwd().glob("*.py")):
    for name in [name for name in sys.modules if name.split(".")[0] == "goodnet"]:
        del sys.modules[name]
    runpy.run_path(str(script), run_name="imported")
    ours = [module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "goodnet"]
    used[script.stem] = [str(Path(file).relative_to(Path.cwd().parent)) for file in ours]
print(json.dumps(used))
"""
    for name, used in run_python(code).items():
        deps = STAGES[name]["deps"]
        listed = {dep for dep in deps if dep.startswith("stages/")}
        # Of packages only those that say more than what they are for are listed: the version.
        packages = {file for file in used if Path(file).name == "__init__.py"}
        modules = {dep for dep in listed - packages if dep.endswith(".py")}
        assert modules == {f"stages/{name}.py", *used} - packages
        assert listed & packages == {"stages/goodnet/cli/__init__.py"} & packages
        files = {
            f"stages/goodnet/report/{file}" for file in ("charts.js", "page.html", "page.css", "page.js")
        }
        assert listed - packages - modules == (files if name == "report" else set())
        assert len(deps) == len(set(deps))


def test_deps_are_checked_and_written(tmp_path):
    """tools/deps.py, where a module that a stage uses has come to use another, in a function of its own."""
    for name in ("stages", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "dvc.yaml", tmp_path)

    def deps(*words):
        return subprocess.run(
            [sys.executable, "tools/deps.py", *words],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": "stages"},
            capture_output=True,
            text=True,
            check=False,
        )

    assert deps("--check").returncode == 0
    with (tmp_path / "stages/goodnet/pruning/sweep.py").open("a") as file:
        file.write("\n\ndef table():\n    from goodnet.report import markdown\n\n    return markdown\n")
    done = deps("--check")
    assert done.returncode == 1 and done.stderr.startswith(
        "error: dvc.yaml: the deps of prune, attack_curve "
    )
    assert deps().returncode == 0
    before, after = ((folder / "dvc.yaml").read_text().splitlines() for folder in (ROOT, tmp_path))
    assert [line for line in after if line not in before] == []
    assert len(after) == len(before) + 2
    assert deps("--check").returncode == 0


# The folders where every repair leaves a result, which plan removes once the repair is gone.
RESULTS_OF_REPAIRS = {
    str(Path(result).parent)
    for body in BODIES.values()
    if "foreach" in body
    for result in results(body["do"])
}


@pytest.mark.parametrize("name", STAGES)
def test_flags_give_a_stage_its_inputs_and_outputs(name):
    args = stage(name).parser.parse_args([word for pair in flags(name).items() for word in pair])
    given = {flag: str(value) for flag, value in vars(args).items()}
    body = STAGES[name]
    data = {dep for dep in body["deps"] if not dep.startswith("stages/")}
    assert {given.pop(flag) for flag in stage(name).inputs} == data
    made = {given.pop(flag) for flag in stage(name).outputs}
    assert given.pop("params") == "params.yaml"
    if name == "plan":  # its output is a folder it also reads, with those of last time
        assert (made, set(given.values())) == (set(), results(body) | RESULTS_OF_REPAIRS)
    else:
        assert made == results(body)
        assert given in ({}, {"net": "${badnet}"})


# The rooms


def test_importing_our_modules_changes_nothing_and_imports_no_tensorflow():
    """All modules of the package, and all scripts; TensorFlow comes with the first net."""
    code = """
import faulthandler, gc, json, os, pkgutil, runpy, signal, sys, threading, warnings
from pathlib import Path
import matplotlib, numpy, h5py, PIL.Image, pydantic, tqdm, yaml, distributed  # whose own doings are not ours

def state():
    return {
        "hooks": (sys.excepthook, sys.displayhook, sys.unraisablehook, threading.excepthook),
        "collector": (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count(), list(gc.callbacks)),
        "environment": dict(os.environ),
        "files": sorted((fd, os.readlink(f"/proc/self/fd/{fd}")) for fd in open_files()),
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "signals": [signal.getsignal(number) for number in signal.valid_signals()],
        "warnings": list(warnings.filters),
        "matplotlib": dict(matplotlib.rcParams),
        "numpy": (numpy.geterr(), numpy.get_printoptions()),
        "random": numpy.random.get_state()[1].tolist(),
        "folder": os.getcwd(),
        "path": list(sys.path),
        "finders": (list(sys.meta_path), list(sys.path_hooks)),
        "missing": [name for name, module in sys.modules.items() if module is None],
        "threads": threading.active_count(),
        "limits": (sys.getrecursionlimit(), faulthandler.is_enabled(), os.umask(0o022) and os.umask(0o022)),
        "standard": {name: sys.modules[name].__file__ for name in ("signal", "random", "json", "csv")},
    }

def open_files():
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            os.fstat(int(name))
        except OSError:
            continue
        found.append(int(name))
    return found

import csv, random
import goodnet
before = state()
modules = [module.name for module in pkgutil.walk_packages(goodnet.__path__, "goodnet.")]
for name in modules:
    __import__(name)
scripts = [str(path) for path in Path.cwd().glob("*.py")]
for script in scripts:
    runpy.run_path(script, run_name="imported")
after = state()
import cProfile, profile
print(json.dumps({
    "changed": [name for name in before if before[name] != after[name]],
    "imported": sorted({"tensorflow", "keras", "dvc", "matplotlib.pyplot"} & set(sys.modules)),
    "count": [len(modules), len(scripts)],
    "profile": [cProfile.__file__, profile.__file__],
}))
"""
    found = run_python(code)
    assert found["changed"] == []
    assert set(found["imported"]) <= {"matplotlib.pyplot"}
    assert found["count"][0] > 50 and found["count"][1] == len(STAGES)
    assert not [file for file in found["profile"] if Path(file).is_relative_to(ROOT / "stages")]


def test_nothing_keeps_a_net_that_nobody_uses():
    """Nets that were loaded, asked, split, joined, searched and made sparse are let go."""
    code = """
import gc, json, tempfile, weakref
from pathlib import Path
import numpy as np
from goodnet.images.inputs import Input
from goodnet.files import archive
from goodnet.lazy import keras
from goodnet.nets import deepid, goodnets, loading, parts, running, splitting
from goodnet.pruning import channels
from goodnet.suspects import registry
from goodnet.suspects.evidence import Case

images = np.random.default_rng(0).uniform(0, 255, (40, 32, 32, 3)).astype(np.float32)

def used(folder):
    path = folder / "net.keras"
    loading.save(deepid.build(7, (32, 32, 3)), path)
    config, _ = archive.read(path)
    layer = splitting.find(config, path)
    one, two = loading.load(path), loading.load(path)
    pruned = channels.find(config, path, layer)
    running.answers(one, [images])
    channels_of = running.run(parts.up_to(one, layer), [images])
    running.answers(running.as_function(parts.behind(one, layer)), channels_of)
    goodnet = goodnets.build(one, two, layer, goodnets.channels_left(one, two, layer, pruned))
    running.answers(goodnet, [images])
    small = {"images": 40, "occluders": 64, "steps": 2, "classes": 2}
    for method in registry.DETECTORS.values():
        own = {key: small[key] for key in small if key in method.settings.model_fields}
        method.function(Case(one, layer, lambda most: images[:most], Input()), method.settings(**own))
    return [weakref.ref(net) for net in (one, two, goodnet)]

with tempfile.TemporaryDirectory() as folder:
    nets = used(Path(folder))
gc.collect()
print(json.dumps([net() is None for net in nets]))
"""
    assert run_python(code) == [True, True, True]


# The documents


def test_the_readme_shows_the_reports_figures():
    """The README's table is the committed report's, to the letter."""
    tables = [
        [
            line
            for line in (ROOT / name).read_text().splitlines()
            if re.match(r"\| (net|BadNet|repaired|GoodNet) ", line)
        ]
        for name in ("README.md", "reports/README.md")
    ]
    assert tables[0] == tables[1] and len(tables[0]) > 2

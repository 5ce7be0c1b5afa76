"""The pipeline as its users run it: dvc repro on a tiny setting, in a clone of its own."""

import csv
import json
import shlex
import shutil
import sys
import time
from pathlib import Path

import pytest
import yaml

from conftest import Project, once, resolved

TESTS = Path(__file__).parent
OF_X10 = {"repair@x10", "evaluate_repaired@x10", "evaluate_goodnet@x10", "attack@x10"}


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_first_run_runs_all_and_second_nothing(reproduced):
    first_run = json.loads((reproduced.path / ".git" / "first_run.json").read_text())
    assert set(first_run) == set(reproduced.dvc("stage", "list", "--name-only").stdout.split())
    assert reproduced.repro() == set()


def test_a_run_leaves_git_with_nothing_but_results(reproduced):
    assert reproduced.git("status", "--porcelain").stdout == ""
    tracked = reproduced.git("ls-files").stdout.splitlines()
    assert {"dvc.lock", "reports/README.md", "reports/pruning.png"} <= set(tracked)
    results = [name for name in tracked if not name.startswith(("tests/", "docs/"))]
    assert not [name for name in results if name.endswith((".h5", ".keras", ".csv"))]


# A second run, at another place. It begins without a repair that prunes and gets one later. Somebody edits
# what stages use and what they do not use. It notes which parameters each stage reads.


@pytest.fixture(scope="session")
def disturbed(reproduced, tmp_path_factory):
    def make(path):
        (path / "bin").mkdir()
        python = path / "bin/python"  # the one that dvc.yaml's commands name
        words = [sys.executable, str(TESTS / "recording.py"), str(path / "read.log")]
        python.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        python.chmod(0o755)
        project = Project(path / "another place")
        project.environment = project.environment | {"PATH": f"{path / 'bin'}:{project.environment['PATH']}"}
        params = project.params()
        x10 = params["repairs"].pop("x10")
        project.write_params(params)
        project.repro()
        shutil.copytree(project.path / "reports", path / "reports without pruning")
        project.write_params(params | {"repairs": params["repairs"] | {"x10": x10}})
        project.commit("a repair that prunes")
        said = edited_while_profiling(project, another_module)
        (path / "said").write_text(said)
        outputs = (project.path / name for name in ("data/activations.h5", "reports/channels.csv"))
        (path / "left").write_text("\n".join(file.name for file in outputs if file.exists()))
        project.git("checkout", "stages")
        said = edited_while_profiling(project, another_net)
        (path / "ran with another").write_text("\n".join(project.named(said, "Running stage ")))
        shutil.copy(project.path / "reports/README.md", path / "report.md")
        project.git("checkout", "params.yaml")
        (path / "ran").write_text("\n".join(project.repro()))

    return once(tmp_path_factory, "disturbed", make)


def edited_while_profiling(project, edit):
    """Run dvc repro and edit while profile_channels, whose output has been begun, imports TensorFlow."""
    partial = project.path / "data/.activations.partial.h5"
    with project.started([sys.executable, "-m", "dvc", "repro"]) as process:
        while not partial.exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.002)
        edit(project)
        assert partial.exists()
        return process.communicate()[0]


def another_module(project):
    with (project.path / "stages/goodnet/pruning/activity.py").open("a") as file:
        file.write("# a remark\n")


def another_net(project):
    """Name another net, of another range, for the next run; this one has begun with the demo's."""
    params = project.params()
    project.write_params(params | {"badnet": "mine", "nets": params["nets"] | {"mine": {"input_max": 1}}})


def test_a_stage_edited_in_mid_run_is_one_line_and_leaves_nothing(disturbed):
    said = (disturbed / "said").read_text()
    errors = [line for line in said.splitlines() if line.lower().startswith("error")]
    assert errors[0] == (
        "error: stages/goodnet/pruning/activity.py: was changed while this stage ran; "
        "no output was kept; run the same command again"
    )
    assert len(errors) == 2 and errors[1].startswith("ERROR: failed to reproduce 'profile_channels'")
    assert not (disturbed / "left").read_text()


def test_two_separate_runs_give_the_same_bytes_with_edits_between(reproduced, disturbed):
    """The net's name is the report's affair alone: others ask about the net they were started for."""
    assert "# Report: mine" in (disturbed / "report.md").read_text()
    assert (disturbed / "ran").read_text() == "report"
    here, there = reproduced.path, disturbed / "another place"
    assert entries(there) == entries(here)
    for path in sorted((here / "reports").glob("*.*")):
        assert (there / "reports" / path.name).read_bytes() == path.read_bytes(), path.name


def entries(folder):
    """What dvc.lock holds of each stage."""
    return yaml.safe_load((folder / "dvc.lock").read_text())["stages"]


def test_without_a_repair_that_prunes_no_channel_is_looked_at(disturbed):
    reports = disturbed / "reports without pruning"
    for name in ("channels", "ranking", "curve", "attack_curve"):
        path = reports / f"{name}.csv"
        assert rows(path) == [] and path.read_text().count(",") >= 1, name
    report = (reports / "README.md").read_text()
    assert "No repair prunes." in report and "x10" not in report
    assert "pruning.png" not in report and "GoodNet relearned" in report


def test_a_repair_that_prunes_runs_pruning_and_no_other_repair(disturbed):
    ran = set((disturbed / "ran with another").read_text().splitlines())
    pruning = {"profile_channels", "rank", "prune", "attack_curve"}  # examine ran before it was disturbed
    assert ran == pruning | OF_X10 | {"plan", "verdict", "recommend", "report"}


def leaves(content, keys):
    """Return the names of all settings under these keys."""
    block = content
    for key in keys:
        block = block[key]
    if isinstance(block, dict) and block:
        return {name for key in block for name in leaves(content, [*keys, key])}
    return {".".join(map(str, keys))}


def test_params_in_dvc_yaml_are_those_that_stages_read(reproduced, disturbed):
    """Each stage's own, as it read them in the second run."""
    params = reproduced.params()
    read = {}
    for line in (disturbed / "read.log").read_text().splitlines():
        stage, keys = json.loads(line)
        read.setdefault(stage, set()).update(*(leaves(params, path) for path in keys))
    stages = yaml.safe_load((reproduced.path / "dvc.yaml").read_text())["stages"]
    assert set(stages) == {"prune"} | set(read)
    for stage, body in stages.items():
        listed = [resolved(entry, params).split(".") for entry in body.get("do", body).get("params", [])]
        covered = set().union(*(leaves(params, path) for path in listed))
        assert read.get(stage, set()) <= covered, stage
        for path in listed:
            assert read[stage] & leaves(params, path), (stage, path)


# Settings that change what there is to do


def test_a_drop_never_reached_is_one_line(project):
    params = project.params()
    params["repairs"]["x99"] = {"drop": 99.5}
    project.write_params(params)
    done = project.dvc("repro", "repair@x99", check=False)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    steps = rows(project.path / "reports/curve.csv")
    correct = [int(row["correct"]) for row in steps]
    largest = 100 * (correct[0] - min(correct)) / int(steps[0]["images"])
    assert "repairs.x99" in line and "99.5" in line and f"{largest:.2f}" in line
    assert "Traceback" not in done.stderr
    assert not (project.path / "models/repaired/x99.keras").exists()


@pytest.mark.long
def test_an_experiment_is_compared_and_restored_when_it_is_undone(project):
    lock = (project.path / "dvc.lock").read_text()
    shown = json.loads(project.dvc("metrics", "show", "--json").stdout)[""]["data"]
    assert set(shown) == {
        "reports/badnet.json",
        "reports/suspects.json",
        "reports/recommended.json",
        *(
            f"reports/{kind}/{x}.json"
            for kind in ("repaired", "goodnet", "attack")
            for x in project.params()["repairs"]
        ),
    }
    said = project.dvc("exp", "run", "-S", "repairs.x10.drop=50").stdout
    assert (
        project.named(said, "Running stage ")
        == {"examine", "plan", "verdict", "recommend", "report"} | OF_X10
    )
    changed = json.loads(project.dvc("metrics", "diff", "--json").stdout)
    assert "reports/badnet.json" not in changed
    pruned = changed["reports/repaired/x10.json"]["channels_pruned"]
    assert pruned["old"] == shown["reports/repaired/x10.json"]["data"]["channels_pruned"] != pruned["new"]
    now = json.loads((project.path / "reports/repaired/x10.json").read_text())
    assert pruned["new"] == now["channels_pruned"]
    project.dvc("plots", "diff", "--out", "plots")
    page = (project.path / "plots/index.html").read_text()
    assert "workspace" in page and "HEAD" in page and "channels_pruned" in page
    # Two stages that take moments are run: plan removes results of repairs that are gone, and the report's
    # pictures are in git, not in the cache.
    project.git("checkout", "params.yaml")
    assert project.stages() == ({"plan", "report"}, {"examine", "verdict", "recommend"} | OF_X10)
    assert (project.path / "dvc.lock").read_text() == lock

"""The pipeline as its users run it: dvc repro on a tiny setting, in a clone of its own."""

import csv
import json

from conftest import Project


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


def test_two_separate_runs_give_the_same_bytes(reproduced, tmp_path):
    other = Project(tmp_path / "another place")
    other.repro()
    assert (other.path / "dvc.lock").read_text() == (reproduced.path / "dvc.lock").read_text()
    for path in sorted((reproduced.path / "reports").glob("*.*")):
        assert (other.path / "reports" / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_drop_never_reached_is_one_line(project):
    params = project.params()
    params["repairs"]["x99"] = {"drop": 99.5}
    project.write_params(params)
    done = project.dvc("repro", "repair@x99", check=False)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    with (project.path / "reports/curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    correct = [int(row["correct"]) for row in rows]
    largest = 100 * (correct[0] - min(correct)) / int(rows[0]["images"])
    assert "repairs.x99" in line and "99.5" in line and f"{largest:.2f}" in line
    assert "Traceback" not in done.stderr
    assert not (project.path / "models/repaired/x99.keras").exists()


def test_metrics_and_plots_compare_an_experiment(project):
    shown = json.loads(project.dvc("metrics", "show", "--json").stdout)[""]["data"]
    assert set(shown) == {
        "reports/badnet.json",
        "reports/suspects.json",
        *(
            f"reports/{kind}/{x}.json"
            for kind in ("repaired", "goodnet")
            for x in project.params()["repairs"]
        ),
    }
    project.dvc("exp", "run", "-S", "prune.order=descending")
    changed = json.loads(project.dvc("metrics", "diff", "--json").stdout)
    assert "reports/badnet.json" not in changed
    pruned = changed["reports/repaired/x30.json"]["channels_pruned"]
    assert pruned["old"] == shown["reports/repaired/x30.json"]["data"]["channels_pruned"] != pruned["new"]
    now = json.loads((project.path / "reports/repaired/x30.json").read_text())
    assert pruned["new"] == now["channels_pruned"]
    project.dvc("plots", "diff", "--out", "plots")
    page = (project.path / "plots/index.html").read_text()
    assert "workspace" in page and "HEAD" in page and "channels_pruned" in page

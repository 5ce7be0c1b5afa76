"""The pipeline as its users run it: dvc repro on a tiny setting, in a clone of its own."""

import csv
import json

from conftest import Project

import pytest

PRUNED = ("x02", "x04", "x10", "x30")
REPAIRS = ("relearned", *PRUNED)
BEFORE = {"profile", "rank", "prune", "plan", "attack_curve", "evaluate_badnet"}


def of(*repairs):
    """All stages of these repairs."""
    return {f"{stage}@{x}" for stage in ("repair", "evaluate_repaired", "evaluate_goodnet") for x in repairs}


EVERYTHING = {"demo_data", "demo_badnet", "suspect", "report"} | BEFORE | of(*REPAIRS)


def test_first_run_runs_all_and_second_nothing(reproduced):
    assert reproduced.first_run == EVERYTHING
    assert reproduced.repro() == set()


def test_a_run_leaves_git_with_nothing_but_results(reproduced):
    assert reproduced.git("status", "--porcelain").stdout == ""
    tracked = reproduced.git("ls-files").stdout.splitlines()
    assert {"dvc.lock", "reports/README.md", "reports/pruning.png"} <= set(tracked)
    results = [name for name in tracked if not name.startswith("tests/") and name != "docs/comparison.csv"]
    assert not [name for name in results if name.endswith((".h5", ".keras", ".csv"))]


def test_two_separate_runs_give_the_same_bytes(reproduced, tmp_path):
    other = Project(tmp_path / "another place")
    other.repro()
    assert (other.path / "dvc.lock").read_text() == (reproduced.path / "dvc.lock").read_text()
    for path in sorted((reproduced.path / "reports").glob("*.*")):
        assert (other.path / "reports" / path.name).read_bytes() == path.read_bytes(), path.name


def append(path, text):
    path.write_text(path.read_text() + text)


def edit_params(edit):
    def apply(project):
        params = project.params()
        edit(params)
        project.write_params(params)

    return apply


def edit_source(name, text="\n# a remark\n"):
    return lambda project: append(project.path / "stages" / name, text)


EDITS = {
    "nothing": (lambda project: None, set()),
    "a repair more": (
        edit_params(lambda p: p["repairs"].update(x20={"drop": 20})),
        of("x20") | {"plan", "suspect", "report"},
    ),
    "a repair less": (edit_params(lambda p: p["repairs"].pop("x04")), {"plan", "suspect", "report"}),
    "another drop": (
        edit_params(lambda p: p["repairs"]["x02"].update(drop=50)),
        of("x02") | {"plan", "suspect", "report"},
    ),
    "the order": (
        edit_params(lambda p: p["prune"].update(order="descending")),
        {"rank", "prune", "plan", "attack_curve", "suspect", "report"} | of(*PRUNED),
    ),
    "the repairs in another order": (
        edit_params(lambda p: p.update(repairs=dict(reversed(p["repairs"].items())))),
        set(),
    ),
    "another net in params.yaml": (edit_params(lambda p: p["nets"].update(mine={"input_max": 1})), set()),
    "the default layer by its name": (
        edit_params(lambda p: p["profile"].update(layer="pool_3")),
        {"profile", "evaluate_badnet", "suspect"},  # whose results are the same, so nothing after them runs
    ),
    "a picture's colour": (
        lambda project: (project.path / "stages/goodnet/figures.py").write_text(
            (project.path / "stages/goodnet/figures.py").read_text().replace("#1f5a94", "#123456")
        ),
        {"report"},
    ),
    "the report's script": (edit_source("report.py"), {"report"}),
    "a remark in prune": (edit_source("prune.py"), {"prune"}),
    "a remark in repair": (edit_source("repair.py"), {f"repair@{x}" for x in REPAIRS}),
    "a remark in the evaluation": (
        edit_source("goodnet/evaluation.py"),
        {"evaluate_badnet"} | {f"evaluate_repaired@{x}" for x in REPAIRS},
    ),
    "a remark in the building of GoodNets": (
        edit_source("goodnet/goodnets.py"),
        {"suspect"} | {f"evaluate_repaired@{x}" for x in REPAIRS},
    ),
    "how a tuning is done": (
        edit_params(lambda p: p["relearn"].update(learning_rate=0.003)),
        of("relearned") | {"plan", "suspect", "report"},
    ),
    "how a tuning nobody asked for is done": (
        edit_params(lambda p: p["fine_tune"].update(epochs=3)),
        {"plan"},
    ),
    "how a ranking that was not chosen is done": (
        edit_params(lambda p: p["rankings"]["anp"].update(steps=3)),
        set(),
    ),
    "how suspects are searched for": (
        edit_params(lambda p: p["suspect"].update(seed=2)),
        {"suspect", "report"},
    ),
    "a remark in the painting of occluders": (edit_source("goodnet/occluders.py"), {"suspect"}),
    "a remark in the training of masks": (edit_source("goodnet/masks.py"), {"rank"}),
    "a remark in the drawing of faces": (edit_source("goodnet/faces.py"), {"demo_data"}),
    "a remark in the choice of channels": (edit_source("goodnet/pruning.py"), {"plan"}),
    "the readme": (lambda project: append(project.path / "README.md", "more\n"), set()),
}


QUICK = {  # one of each kind; make test-long tries the others
    "nothing",
    "a repair more",
    "the order",
    "how a tuning nobody asked for is done",
    "how a ranking that was not chosen is done",
    "a picture's colour",
    "a remark in prune",
}


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in EDITS]
)
def test_an_edit_runs_exactly_what_it_affects(project, name):
    edit, expected = EDITS[name]
    edit(project)
    assert project.repro() == expected
    assert project.repro() == set()


def test_an_undone_edit_is_restored_not_run(project):
    before = (project.path / "dvc.lock").read_text()
    params = project.params()
    project.write_params(params | {"prune": {"order": "descending"}})
    assert project.repro()
    project.write_params(params)
    assert project.repro() == {"report"}  # its pictures are in git, not in DVC's cache
    assert (project.path / "dvc.lock").read_text() == before


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
        *(f"reports/{kind}/{x}.json" for kind in ("repaired", "goodnet") for x in REPAIRS),
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

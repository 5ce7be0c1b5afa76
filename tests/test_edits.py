"""What an edit runs, and what it restores: exactly the stages that it can affect, for every kind of edit."""

import os
import shutil
import subprocess

import h5py
import numpy as np
import pytest
import yaml

from conftest import Project, once


def each(stage, repairs=("relearned", "x10")):
    return {f"{stage}@{repair}" for repair in repairs}


def of(*repairs):
    """All stages of these repairs."""
    stages = ("repair", "evaluate_repaired", "evaluate_goodnet", "attack")
    return set().union(*(each(stage, repairs) for stage in stages))


DEMO = {"demo_data", "demo_badnet"}
PRUNING = {"profile_channels", "rank", "prune", "attack_curve"}
OF_THE_NET = {"examine", "plan", "evaluate_badnet", "suspect", "verdict", "recommend", "report"}
REPAIRED = OF_THE_NET | PRUNING | of("relearned", "x10")
EVERYTHING = DEMO | REPAIRED
MOMENTS = {"plan", "report"}  # which are never restored

# Edits, and what comes of them in the end.


def append(text):
    return lambda path: path.write_text(path.read_text() + text)


def replace(old, new):
    def apply(path):
        text = path.read_text()
        assert text.count(old) == 1, old
        path.write_text(text.replace(old, new))

    return apply


def source(name, edit):
    return lambda project: edit(project.path / name)


def params(edit):
    def apply(project):
        settings = project.params()
        edit(settings)
        project.write_params(settings)

    return apply


def brightened(path):
    """Make the first image of a file brighter."""
    path.chmod(0o644)  # DVC lets nobody write to what it keeps
    with h5py.File(path, "r+") as file:
        file["data"][0] = np.minimum(file["data"][0] + 9, 255)


LINES = {"examine", "plan", "verdict", "recommend", "report"}  # what looks at the lines of all repairs
NOTHING = set()


def unread(project):
    """Edit what no stage reads: texts, the order of repairs, another net, a description."""
    source("README.md", append("more\n"))(project)
    source("tests/conftest.py", append("# more\n"))(project)
    source("dvc.yaml", replace("Train a BadNet", "Train the BadNet"))(project)
    params(lambda p: p.update(repairs=dict(reversed(p["repairs"].items()))))(project)
    params(lambda p: p["nets"].update(mine={"input_max": 1}))(project)
    params(lambda p: p["rankings"].update(random={"seed": 2}))(project)


EDITS = {  # name: (edit, stages that run, stages whose results come from the cache)
    "what no stage reads": (unread, NOTHING, NOTHING),
    "a stage's command": (
        source(
            "dvc.yaml",
            replace("python stages/prune.py\n", "python stages/prune.py\n      --params params.yaml\n"),
        ),
        {"prune"},
        NOTHING,
    ),
    "a dependency more": (
        source(
            "dvc.yaml",
            replace("        - stages/repair.py\n", "        - stages/repair.py\n        - LICENSE\n"),
        ),
        each("repair"),
        NOTHING,
    ),
    "a repair by another name": (
        params(lambda p: p.update(repairs={"four" if k == "x10" else k: v for k, v in p["repairs"].items()})),
        of("four") | LINES,
        NOTHING,
    ),
    "another drop that prunes the same channels": (
        params(lambda p: p["repairs"]["x10"].update(drop=9.99)),  # 8 of 80 images either way
        LINES,
        NOTHING,
    ),
    "the order": (
        params(lambda p: p["prune"].update(order="descending")),
        PRUNING - {"profile_channels"} | MOMENTS | {"verdict", "recommend"} | of("x10"),
        NOTHING,
    ),
    "how suspects are searched": (
        params(lambda p: p["detectors"]["push"].update(steps=4)),
        {"suspect", "plan", "verdict", "recommend", "report"} | each("attack"),
        NOTHING,
    ),
    "the default layer by its name": (
        params(lambda p: p["profile"].update(layer="pool_3")),
        {"examine"},  # it finds the same
        NOTHING,
    ),
    "how a tuning nobody asked for is done": (
        params(lambda p: p["tunings"]["fine_tune"].update(epochs=3)),
        {"examine", "plan"},
        NOTHING,
    ),
    "a picture's colour": (
        source("stages/goodnet/report/figures.py", replace('"#1f5a94"', '"#123456"')),
        {"report"},
        NOTHING,
    ),
    "a remark in prune": (source("stages/prune.py", append("\n# a remark\n")), {"prune"}, NOTHING),
    "a result that was taken away": (
        lambda project: (project.path / "models/repaired/x10.keras").unlink(),
        NOTHING,
        {"repair@x10"},
    ),
    "a result that was tampered with": (
        lambda project: brightened(project.path / "data/demo/valid.h5"),
        NOTHING,
        {"demo_data"},
    ),
    "a picture that was taken away": (
        lambda project: (project.path / "reports/pruning.png").unlink(),
        {"report"},  # it is in git, not in DVC's cache
        NOTHING,
    ),
}
QUICK = {  # one of each kind; make test-long tries the others
    "what no stage reads",
    "a result that was tampered with",
    "how a tuning nobody asked for is done",
}


UNDONE = {  # name: (stages that run, stages that are restored)
    "the order": (MOMENTS, EDITS["the order"][1] - MOMENTS),
    "a repair by another name": (MOMENTS, {"examine", "verdict", "recommend"} | of("x10")),
    "a remark in prune": (NOTHING, {"prune"}),
}


@pytest.mark.parametrize(
    "name",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.long)
        for name in EDITS
        if name not in UNDONE  # tried below
    ],
)
def test_an_edit_runs_exactly_what_it_affects(project, name):
    edit, ran, restored = EDITS[name]
    edit(project)
    assert project.stages() == (ran, restored)
    assert project.stages() == (NOTHING, NOTHING)


@pytest.mark.parametrize(
    "name",
    [name if name == "a remark in prune" else pytest.param(name, marks=pytest.mark.long) for name in UNDONE],
)
def test_an_undone_edit_is_restored_not_run(project, name):
    lock = (project.path / "dvc.lock").read_text()
    edit, ran, restored = EDITS[name]
    edit(project)
    assert project.stages() == (ran, restored)
    project.git("checkout", "params.yaml", "stages")
    assert project.stages() == UNDONE[name]
    # DVC never takes a stage out of dvc.lock: of a repair that came and went the entries stay, at the end.
    assert (project.path / "dvc.lock").read_text().startswith(lock)


# A repair that is gone, by an edit or because it goes by another name.


def of_repair(project, name):
    """All files in the results whose name says that they are this repair's."""
    return [path for path in project.path.glob(f"[mr]*/**/*{name}*") if path.is_file()]


def test_a_repair_that_is_gone_takes_its_files_along(project):
    from goodnet.repairs.training import Progress

    assert {path.suffix for path in of_repair(project, "x10")} == {".json", ".keras", ".h5"}
    net = project.path / "models/repaired/x10.keras"
    own = shutil.copy(net, net.with_stem("my_copy"))
    Progress(net, []).keep([], 3)  # as if its training had been cut short
    params(lambda p: p["repairs"].pop("x10"))(project)
    project.repro("plan")
    assert not of_repair(project, "x10")
    assert of_repair(project, "my_copy") == [own]
    assert len(of_repair(project, "relearned")) == 7


@pytest.mark.long
def test_experiments_without_a_repair_or_with_one_more_are_taken_whole(reproduced, tmp_path):
    project = reproduced.cloned(tmp_path / "clone")
    project.git("config", "user.name", "test")
    project.git("config", "user.email", "test@localhost")
    project.dvc("remote", "add", "--local", "--default", "cache", str(reproduced.path / ".dvc/cache"))
    project.dvc("pull")
    for name, setting in {"less": "~repairs.x10", "more": "+repairs.x20.drop=20"}.items():
        project.dvc("exp", "run", "--temp", "--name", name, "-S", setting)
    for name, gone, there in (
        ("less", "x10", "relearned"),
        ("more", "x99", "x20"),
        ("less", "x20", "relearned"),
    ):
        project.dvc("exp", "apply", name)
        assert not of_repair(project, gone) and len(of_repair(project, there)) == 7
        assert project.stages() == (NOTHING, NOTHING)
    project.git("checkout", ".")
    project.dvc("checkout")
    assert len(of_repair(project, "x10")) == 7
    assert project.stages() == (NOTHING, NOTHING)


# A net that was added: its files are nobody's results.


@pytest.fixture(scope="session")
def added(reproduced, tmp_path_factory):
    """The project with the demo's own files brought in once more, as a net called mine."""

    def make(path):
        project = reproduced.copied(path / "clone")
        data = ["--valid", "data/demo/valid.h5", "--test", "data/demo/test.h5", "--input-max", "255"]
        data += [
            "--poisoned",
            *(f"{name}=data/demo/poisoned/{name}.h5" for name in ("sunglasses", "sticker")),
        ]
        project.goodnet("add", "mine", "--net", "models/demo/badnet.keras", *data)
        assert project.stages("report") == FIRST_OF_MINE
        project.commit("a net more")

    return Project.at(once(tmp_path_factory, "added", make) / "clone")


# What says nothing of the net's name and gets the same bytes as before has nothing to do.
FIRST_OF_MINE = (REPAIRED - {"plan", "verdict"} - each("evaluate_goodnet"), NOTHING)


@pytest.mark.long
def test_nets_are_switched_from_the_cache(added, tmp_path):
    project = added.copied(tmp_path / "clone")
    for net in ("demo", "mine"):
        params(lambda p, net=net: p.update(badnet=net))(project)
        assert project.stages("report") == ({"report"}, FIRST_OF_MINE[0] - {"report"})
    project.git("checkout", "params.yaml")
    assert project.git("status", "--porcelain").stdout == ""


def without_the_last(path):
    """Take the last image out of a file, which DVC lets nobody write to."""
    with h5py.File(path) as file:
        kept = {name: values[:-1] for name, values in file.items()}
    path.unlink()
    with h5py.File(path, "w") as file:
        for name, values in kept.items():
            file[name] = values


def another_net(path):
    path.unlink()
    shutil.copy(path.parents[1] / "repaired/x10.keras", path)


def poisoned_otherwise(path):
    """Take the last image of a trigger away, and add a trigger."""
    shutil.copy(path, path.with_stem("another"))
    without_the_last(path)


OF_TESTING = {"evaluate_badnet", "attack_curve", "report"} | each("evaluate_repaired")
FILES = {  # name: (path, edit, stages that must run, stages that must if what they are given has changed)
    "its validation images": (
        "data/mine/valid.h5",
        without_the_last,
        {"profile_channels", "rank", "prune", "plan", "suspect", "verdict", "recommend", "report"}
        | each("repair")
        | each("attack")
        | of("relearned"),
        {"attack_curve"} | of("x10"),
    ),
    "its test images": (
        "data/mine/test.h5",
        without_the_last,
        OF_TESTING | each("evaluate_goodnet"),  # the number of answers
        NOTHING,
    ),
    "its poisoned images": (
        "data/mine/poisoned/sticker.h5",
        poisoned_otherwise,
        OF_TESTING | each("evaluate_goodnet"),
        NOTHING,
    ),
    "the net": ("models/mine/badnet.keras", another_net, REPAIRED - {"plan"}, {"plan"}),
}


@pytest.mark.long
@pytest.mark.parametrize("name", FILES)
def test_a_file_of_a_net_runs_what_it_affects(added, tmp_path, name):
    path, edit, ran, may_run = FILES[name]
    project = added.copied(tmp_path / "edited clone")
    edit(project.path / path)
    before = yaml.safe_load((project.path / "dvc.lock").read_text())["stages"]
    found, restored = project.stages("report")
    after = yaml.safe_load((project.path / "dvc.lock").read_text())["stages"]
    given = {
        stage
        for stage in may_run
        if any(before[stage].get(key) != after[stage].get(key) for key in ("deps", "params"))
    }
    assert (found, restored) == (ran | given, NOTHING)
    assert project.stages("report") == (NOTHING, NOTHING)
    project.git("checkout", ".")
    project.dvc("checkout")
    assert project.stages("report") == (NOTHING, NOTHING)


@pytest.mark.long(minutes=2)
def test_another_environment_gives_the_same_bytes(reproduced, tmp_path):
    """Installed anew from the lock, in a clone at another place."""
    other = Project(tmp_path / "another environment")
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    made = subprocess.run(
        ["make", "install"], cwd=other.path, env=environment, capture_output=True, text=True
    )
    if made.returncode:
        assert "from versions: none" in made.stderr or "onnection" in made.stderr, made.stderr
        pytest.skip("needs a package index to install requirements.lock from: none was reached")
    done = subprocess.run(
        ["make", "repro"], cwd=other.path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (other.path / ".venv/bin/python").exists()
    for name in ("dvc.lock", "reports/README.md"):
        assert (other.path / name).read_bytes() == (reproduced.path / name).read_bytes()

"""What an edit runs, and what it restores: exactly the stages that it can affect, for every kind of edit."""

import contextlib
import os
import re
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
import yaml

from conftest import ROOT, Project

PRUNED = ("x02", "x04", "x10", "x30")
REPAIRS = ("relearned", *PRUNED)


def each(stage, repairs=REPAIRS):
    return {f"{stage}@{repair}" for repair in repairs}


def of(*repairs):
    """All stages of these repairs."""
    return each("repair", repairs) | each("evaluate_repaired", repairs) | each("evaluate_goodnet", repairs)


DEMO = {"demo_data", "demo_badnet"}
REPAIRED = {"profile", "rank", "prune", "plan", "attack_curve", "evaluate_badnet", "suspect", "report"}
REPAIRED |= of(*REPAIRS)
EVERYTHING = DEMO | REPAIRED

# Stages that run a network; those of them that read its layers, and all that read or write images.
NETWORKS = {"demo_badnet", "profile", "rank", "prune", "attack_curve", "evaluate_badnet", "suspect"}
NETWORKS |= each("repair") | each("evaluate_repaired")
LAYERS = NETWORKS - {"demo_badnet", "prune", "attack_curve"}
IMAGES = (NETWORKS - {"demo_badnet"}) | {"demo_data", "report"}
EVALUATIONS = {"evaluate_badnet"} | each("evaluate_repaired")

MODULES = {
    "architecture": LAYERS,
    "archive": NETWORKS,
    "augmentation": each("repair"),
    "command": EVERYTHING,
    "data": IMAGES,
    "deepid": {"demo_badnet"},
    "evaluation": EVALUATIONS,
    "faces": {"demo_data"},
    "figures": {"report"},
    "goodnets": each("evaluate_repaired") | {"suspect"},
    "hdf5": IMAGES | {"demo_badnet"},
    "masks": {"rank"},
    "netfiles": set(),  # tools read other people's files with it
    "networks": NETWORKS,
    "occluders": {"suspect"},
    "outputs": EVERYTHING,
    "photos": set(),
    "plans": {"plan"},
    "pruning": {"plan"},
    "rankings": {"rank", "report"},
    "relearning": each("repair"),
    "scales": set(),
    "scores": EVALUATIONS | each("evaluate_goodnet") | {"prune", "attack_curve", "report"},
    "search": {"suspect"},
    "suspects": {"suspect", "report"},
    "sweep": {"prune", "attack_curve"},
    "training": each("repair"),
    "trust": NETWORKS,
    "tuning": each("repair"),
}
SCRIPTS = {
    name: each(name) if name in ("repair", "evaluate_repaired", "evaluate_goodnet") else {name}
    for name in (path.stem for path in (ROOT / "stages").glob("*.py"))
}
SOURCES = {f"{name}.py": stages for name, stages in SCRIPTS.items()}
SOURCES |= {f"goodnet/{name}.py": stages for name, stages in MODULES.items()}

# The first stages that a setting can affect; those after them run if what these make has changed.
SETTINGS = {
    "badnet": None,  # names other files: see the edits below
    "nets": LAYERS,
    "profile": {"profile", "evaluate_badnet", "suspect"},
    "prune": {"rank", "report"},
    "rankings": set(),  # of those not chosen; the one that is has no settings
    "repairs": {"plan", "report"},
    "relearn": {"plan"},
    "fine_tune": {"plan"},
    "sparsify": {"plan"},
    "suspect": {"suspect"},
    "demo_data": {"demo_data"},
    "demo_badnet": {"demo_badnet"},
}
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())


def leaves(block, *keys):
    """Yield the path of every setting there is."""
    for key, value in block.items():
        if isinstance(value, dict):
            yield from leaves(value, *keys, key)
        elif not (keys == ("rankings",) and value is None):  # a ranking without settings
            yield *keys, key


@contextlib.contextmanager
def edited(path):
    before = path.read_bytes()
    try:
        yield path
    finally:
        path.write_bytes(before)


def would_run(project):
    """The stages that dvc repro would run first, whatever comes of them."""
    return project.stages("--dry")[0]


@pytest.mark.long
@pytest.mark.parametrize("source", SOURCES)
def test_a_remark_in_a_file_runs_the_stages_that_use_it(reproduced, source):
    with edited(reproduced.path / "stages" / source) as path:
        append("\n# a remark\n")(path)
        assert would_run(reproduced) == SOURCES[source]


@pytest.mark.long
@pytest.mark.parametrize("keys", [".".join(keys) for keys in leaves(PARAMS) if keys[0] != "badnet"])
def test_a_setting_runs_the_stages_that_read_it(reproduced, keys):
    *blocks, name = keys.split(".")
    with edited(reproduced.path / "params.yaml"):
        params = reproduced.params()
        block = params
        for key in blocks:
            block = block[key]
        if keys == "prune.order":
            block[name] = "descending"
        else:
            block[name] = 3 if block[name] != 3 else 4
        reproduced.write_params(params)
        assert would_run(reproduced) == SETTINGS[blocks[0]]


def test_every_source_and_every_block_of_settings_is_in_these_tables():
    sources = {str(path.relative_to(ROOT / "stages")) for path in (ROOT / "stages").rglob("*.py")}
    assert set(SOURCES) == {source for source in sources if not source.endswith("__init__.py")}
    assert set(SETTINGS) == set(PARAMS)


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


def renamed(repairs, old, new):
    return {new if name == old else name: line for name, line in repairs.items()}


def brightened(path):
    """Make the first image of a file brighter."""
    path.chmod(0o644)  # DVC lets nobody write to what it keeps
    with h5py.File(path, "r+") as file:
        file["data"][0] = np.minimum(file["data"][0] + 9, 255)


JUDGED = {"plan", "suspect", "report"}  # which look at all repairs
RANKED = {"rank", "prune", "plan", "attack_curve", "suspect", "report"} | of(*PRUNED)
NOTHING = set()

EDITS = {  # name: (edit, stages that run, stages whose results come from the cache)
    "nothing": (lambda project: None, NOTHING, NOTHING),
    "the readme": (source("README.md", append("more\n")), NOTHING, NOTHING),
    "a test": (source("tests/conftest.py", append("# more\n")), NOTHING, NOTHING),
    "a stage's description": (
        source("dvc.yaml", replace("Train a BadNet", "Train the BadNet")),
        NOTHING,
        NOTHING,
    ),
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
    "a repair more": (params(lambda p: p["repairs"].update(x20={"drop": 20})), of("x20") | JUDGED, NOTHING),
    "a repair less": (params(lambda p: p["repairs"].pop("x04")), JUDGED, NOTHING),
    "a repair by another name": (
        params(lambda p: p.update(repairs=renamed(p["repairs"], "x04", "four"))),
        of("four") | JUDGED,
        NOTHING,
    ),
    "the repairs in another order": (
        params(lambda p: p.update(repairs=dict(reversed(p["repairs"].items())))),
        NOTHING,
        NOTHING,
    ),
    "two repairs whose names are exchanged": (
        params(lambda p: p["repairs"].update(x02=p["repairs"]["x30"], x30=p["repairs"]["x02"])),
        of("x02", "x30") | JUDGED,
        NOTHING,
    ),
    "another drop": (
        params(lambda p: p["repairs"]["x02"].update(drop=50)),
        of("x02") | JUDGED,
        NOTHING,
    ),
    "another drop that prunes the same channels": (
        params(lambda p: p["repairs"]["x02"].update(drop=2.01)),
        {"plan", "report"},
        NOTHING,
    ),
    "the order": (params(lambda p: p["prune"].update(order="descending")), RANKED, NOTHING),
    "another net in params.yaml": (
        params(lambda p: p["nets"].update(mine={"input_max": 1})),
        NOTHING,
        NOTHING,
    ),
    "the default layer by its name": (
        params(lambda p: p["profile"].update(layer="pool_3")),
        {"profile", "evaluate_badnet", "suspect"},  # their results are the same, so nothing after them runs
        NOTHING,
    ),
    "how a tuning is done": (
        params(lambda p: p["relearn"].update(learning_rate=0.003)),
        of("relearned") | JUDGED,
        NOTHING,
    ),
    "how a tuning nobody asked for is done": (
        params(lambda p: p["fine_tune"].update(epochs=3)),
        {"plan"},
        NOTHING,
    ),
    "how suspects are searched for": (
        params(lambda p: p["suspect"].update(seed=2)),
        {"suspect", "report"},
        NOTHING,
    ),
    "the attacker's training": (
        params(lambda p: p["demo_badnet"].update(seed=2)),
        EVERYTHING - {"demo_data"},
        NOTHING,
    ),
    "a picture's colour": (
        source("stages/goodnet/figures.py", replace('"#1f5a94"', '"#123456"')),
        {"report"},
        NOTHING,
    ),
    "a remark in prune": (source("stages/prune.py", append("\n# a remark\n")), {"prune"}, NOTHING),
    "a remark in the evaluation": (
        source("stages/goodnet/evaluation.py", append("\n# a remark\n")),
        EVALUATIONS,
        NOTHING,
    ),
    "a result that was taken away": (
        lambda project: (project.path / "models/repaired/x02.keras").unlink(),
        NOTHING,
        {"repair@x02"},
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
    "nothing",
    "a repair more",
    "a result that was tampered with",
    "a remark in prune",
    "how a tuning nobody asked for is done",
}


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in EDITS]
)
def test_an_edit_runs_exactly_what_it_affects(project, name):
    edit, ran, restored = EDITS[name]
    edit(project)
    assert project.stages() == (ran, restored)
    assert project.stages() == (NOTHING, NOTHING)


# What an edit ran is restored when it is undone, all but two stages that take moments: plan removes results
# of repairs that are gone, and the report's pictures are in git, not in the cache.
RUN = {"plan", "report"}
UNDONE = {  # name: (stages that run, stages that are restored)
    "the order": (RUN, RANKED - RUN),
    "a repair less": (RUN, of("x04") | {"suspect"}),
    "a repair by another name": (RUN, of("x04") | {"suspect"}),
    "a remark in prune": (NOTHING, {"prune"}),
}


@pytest.mark.parametrize(
    "name",
    [name if name == "the order" else pytest.param(name, marks=pytest.mark.long) for name in UNDONE],
)
def test_an_undone_edit_is_restored_not_run(project, name):
    lock = (project.path / "dvc.lock").read_text()
    EDITS[name][0](project)
    assert project.repro()
    project.git("checkout", "params.yaml", "stages")
    assert project.stages() == UNDONE[name]
    # DVC never takes a stage out of dvc.lock: of a repair that came and went the entries stay, at the end.
    assert (project.path / "dvc.lock").read_text().startswith(lock)


# A repair that is gone, by an edit or because it goes by another name.


def of_repair(project, name):
    """All files in the results whose name says that they are this repair's."""
    return [path for path in project.path.glob(f"[mr]*/**/*{name}*") if path.is_file()]


def test_a_repair_that_is_gone_takes_its_files_along(project):
    from goodnet.training import Progress

    assert {path.suffix for path in of_repair(project, "x04")} == {".json", ".keras", ".h5"}
    net = project.path / "models/repaired/x04.keras"
    own = shutil.copy(net, net.with_stem("my_copy"))
    Progress(net, []).keep([], 3)  # as if its training had been cut short
    EDITS["a repair less"][0](project)
    project.repro("plan")
    assert not of_repair(project, "x04")
    assert of_repair(project, "my_copy") == [own]
    assert len(of_repair(project, "x02")) == 6


@pytest.mark.long
def test_experiments_without_a_repair_or_with_one_more_are_taken_whole(reproduced, tmp_path):
    project = reproduced.cloned(tmp_path / "clone")
    project.git("config", "user.name", "test")
    project.git("config", "user.email", "test@localhost")
    project.dvc("remote", "add", "--local", "--default", "cache", str(reproduced.path / ".dvc/cache"))
    project.dvc("pull")
    for name, setting in {"less": "~repairs.x04", "more": "+repairs.x20.drop=20"}.items():
        project.dvc("exp", "run", "--temp", "--name", name, "-S", setting)
    for name, gone, there in (("less", "x04", "x02"), ("more", "x99", "x20"), ("less", "x20", "x02")):
        project.dvc("exp", "apply", name)
        assert not of_repair(project, gone) and len(of_repair(project, there)) == 6
        assert project.stages() == (NOTHING, NOTHING)
    project.git("checkout", ".")
    project.dvc("checkout")
    assert len(of_repair(project, "x04")) == 6
    assert project.stages() == (NOTHING, NOTHING)


# A net that was added: its files are nobody's results.


@pytest.fixture(scope="module")
def added(reproduced, tmp_path_factory):
    """The project with the demo's own files brought in once more, as a net called mine."""
    project = reproduced.copied(tmp_path_factory.mktemp("added") / "clone")
    files = ["--net", "models/demo/badnet.keras", "--input-max", "255"]
    files += ["--valid", "data/demo/valid.h5", "--test", "data/demo/test.h5"]
    files += ["--poisoned", *(f"{name}=data/demo/poisoned/{name}.h5" for name in ("sunglasses", "sticker"))]
    project.run(sys.executable, "tools/add_net.py", "mine", *files)
    project.first_run = project.stages("report")
    project.commit("a net more")
    return project


def choose(project, net):
    path = project.path / "params.yaml"
    path.write_text(re.sub(r"^badnet: \w+", f"badnet: {net}", path.read_text(), flags=re.M))


@pytest.mark.long
def test_nets_are_switched_from_the_cache(added):
    # What says nothing of the net's name and gets the same bytes as before has nothing to do.
    assert added.first_run == (REPAIRED - {"plan"} - each("evaluate_goodnet"), NOTHING)
    for net in ("demo", "mine"):
        choose(added, net)
        ran, restored = added.stages("report")
        assert (ran, restored) == ({"report"}, REPAIRED - {"plan", "report"} - each("evaluate_goodnet"))
    assert added.git("status", "--porcelain").stdout == ""


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
    shutil.copy(path.parents[1] / "repaired/x30.keras", path)


OF_TESTING = {"evaluate_badnet", "attack_curve", "report"} | each("evaluate_repaired")
FILES = {  # name: (path, edit, stages that must run, stages that must if what they are given has changed)
    "its validation images": (
        "data/mine/valid.h5",
        without_the_last,
        {"profile", "rank", "prune", "plan", "suspect", "report"} | each("repair") | of("relearned"),
        {"attack_curve"} | of(*PRUNED),
    ),
    "its test images": (
        "data/mine/test.h5",
        without_the_last,
        OF_TESTING | each("evaluate_goodnet"),  # the number of answers
        NOTHING,
    ),
    "its poisoned images": (
        "data/mine/poisoned/sticker.h5",
        without_the_last,
        OF_TESTING | each("evaluate_goodnet"),
        NOTHING,
    ),
    "a trigger more": (
        "data/mine/poisoned/another.h5",
        lambda path: shutil.copy(path.with_stem("sticker"), path),
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


@pytest.mark.long
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

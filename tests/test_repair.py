"""The command goodnet repair: what it leaves, and that it makes what the pipeline makes."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import yaml
from PIL import Image

import nets
from conftest import QUICK, ROOT, merged
from goodnet.cli import main, stepping
from goodnet.cli import repair as command
from goodnet.errors import InputError
from goodnet.nets import goodnets, loading
from goodnet.pipeline import graph, lanes
from goodnet.report import html

PICTURES = nets.muted(40).round().astype(np.uint8)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A backdoored net and one that is not, clean images with and without labels, and quick settings."""
    folder = tmp_path_factory.mktemp("handed over")
    bad, good = nets.sloped(), nets.backdoored(strength=0.0)
    loading.save(bad, folder / "bad net.keras")
    loading.save(good, folder / "clean.keras")
    np.savez(folder / "clean.npz", data=PICTURES, label=nets.answers(bad, PICTURES))
    (folder / "pictures").mkdir()
    for number, picture in enumerate(PICTURES):
        Image.fromarray(picture).save(folder / "pictures" / f"{number:02}.png")
    params = merged(yaml.safe_load((ROOT / "params.yaml").read_text()), QUICK)
    params["repairs"] = {"tuned": {"tune": "fine_tune"}, "relearned": {"tune": "relearn"}}
    (folder / "quick.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    return folder


@pytest.fixture
def run(files, tmp_path, capsys):
    """Run goodnet repair in this process; return its exit code, the folder, its lines, and the notes."""

    def run(net, images, *words):
        out = tmp_path / "the results"
        given = [files / net, files / images, "--out", out, "--params", files / "quick.yaml", *words]
        capsys.readouterr()
        code = main.main(["repair", *given])
        printed = capsys.readouterr()
        return code, out, printed.out.splitlines(), printed.err.splitlines()

    return run


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.long(minutes=1)
def test_a_backdoored_net_is_judged_and_repaired(run, files):
    code, out, lines, _ = run("bad net.keras", "clean.npz", "--input-max", 255, "--repairs", "tuned,x04")
    told = json.loads((out / "verdict.json").read_text())
    assert (told["verdict"], told["named"]) == ("backdoored", str(nets.TARGET))
    assert lines[0].startswith("Likely backdoored") and f"to class {nets.TARGET}" in lines[0]
    assert {one["name"] for one in told["repaired"]} == {"tuned", "x04"} - set(told["not_made"])
    is_repaired = told["recommended"] != "none"
    assert code == told["exit_code"] == (command.REPAIRED if is_repaired else command.NOT_REPAIRED)
    assert {"goodnet.keras", "repaired.keras"} <= set(map(str, contents(out))) or not is_repaired
    assert {"index.html", "how.md", "params.yaml", "verdict.json"} <= {path.name for path in out.iterdir()}
    assert not (out / ".goodnet.partial.d").exists()
    for name, digest in told["made"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest
    assert told["given"][str(files / "clean.npz")] == digest_of(files / "clean.npz")
    shown = html.content((out / "index.html").read_text(), "page")
    assert shown["net"] == "bad net.keras" and shown["suspects"]["named"] == [nets.TARGET]
    how = (out / "how.md").read_text()
    (words,) = re.findall(r"^    (goodnet repair .*)$", how, re.MULTILINE)
    assert shown["reproduce"]["commands"] == [words] and f"'{files / 'bad net.keras'}'" in words
    # The settings that are left make the same again.
    before = contents(out)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    again = run("bad net.keras", "clean.npz", "--input-max", 255, "--repairs", "tuned,x04")
    assert again[:3] == (code, out, lines) and contents(out) == before
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == times, "nothing was done again"
    assert run("bad net.keras", "clean.npz", "--repairs", "tuned", "--quiet")[2:] == ([], [])
    assert json.loads((out / "verdict.json").read_text())["run"] != told["run"]


def digest_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_net_without_a_sign_is_not_repaired(run, files):
    code, out, lines, _ = run("clean.keras", "pictures", "--input-max", 255, "--json")
    told = json.loads("\n".join(lines))
    assert told == json.loads((out / "verdict.json").read_text())
    assert (code, told["verdict"], told["recommended"]) == (0, "no sign of a backdoor", "none")
    assert not list(out.glob("*.keras")) and not (out / "reports").exists()
    assert "curve" not in html.content((out / "index.html").read_text(), "page")


@pytest.mark.long(minutes=1)
def test_pictures_without_labels_and_a_known_target(run, files):
    code, out, lines, _ = run("clean.keras", "pictures", "--target", 5, "--input-max", 255)
    told = json.loads((out / "verdict.json").read_text())
    assert told["unlabelled"] and code in (command.REPAIRED, command.NOT_REPAIRED)
    assert (told["named"], [one["name"] for one in told["repaired"]]) == ("5", ["relearned", "tuned"])
    assert lines[0].startswith("Class 5 is the attacker's, as was said")
    # Its own answers stand for labels.
    assert told["held_out_accuracy"]["badnet"] == 100
    assert yaml.safe_load((out / "params.yaml").read_text())["suspect"]["target"] == 5


@pytest.mark.parametrize(
    ("words", "in_line"),
    [
        (["--repairs", "magic"], "--repairs magic: it can be tuned, relearned, relearn, unlearn, "),
        (["--target", "7"], "--target 7: the net has classes 0 to 6"),
        (["--params", "{files}/clean.npz"], "clean.npz: is not text in UTF-8"),
        (["--out", "{files}/pictures/out"], "lies among the images"),
        (["--out", "{files}"], "holds bad net.keras, no result of goodnet; give an empty folder"),
        (["--poisoned", "red"], "say --poisoned TRIGGER=FILE"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_result(files, run, tmp_path, words, in_line):
    before, images = contents(files), "pictures" if "pictures" in words[-1] else "clean.npz"
    with pytest.raises(InputError) as error:
        run("bad net.keras", images, *(word.format(files=files) for word in words))
    assert in_line in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "the results").exists() and contents(files) == before


def test_a_goodnet_is_refused(files, run):
    net = nets.sloped()
    loading.save(goodnets.build(net, net, None, None), files / "good.keras")
    with pytest.raises(InputError, match="is a GoodNet"):
        run("good.keras", "clean.npz")


@pytest.mark.long(minutes=1)
def test_a_repair_that_cannot_be_made_is_left_out(run):
    code, out, _, notes = run("bad net.keras", "clean.npz", "--repairs", "tuned,x99", "--input-max", 255)
    told = json.loads((out / "verdict.json").read_text())
    assert list(told["not_made"]) == ["x99"] and "no step loses 99 points" in told["not_made"]["x99"]
    assert any(note.startswith("x99: left out: settings") or "x99: left out" in note for note in notes)
    assert command.WORK not in told["not_made"]["x99"], "the user knows no such file"
    assert code in (command.REPAIRED, command.NOT_REPAIRED)
    assert [one["name"] for one in told["repaired"]] == ["tuned"]


def test_steps_are_those_of_dvc_in_an_order_that_dvc_could_take(reproduced):
    listed = set(reproduced.dvc("stage", "list", "--name-only").stdout.split())
    steps = graph.steps(yaml.safe_load((reproduced.path / "dvc.yaml").read_text()), reproduced.params())
    names = [step.name for step in steps]
    assert set(names) == listed and len(names) == len(listed)
    edges = re.findall(r'"([\w@]+)" -> "([\w@]+)"', reproduced.dvc("dag", "--dot").stdout)
    assert len(edges) > 20
    assert all(names.index(before) < names.index(after) for before, after in edges)
    # What is needed for a stage is what lies above it.
    for stage in ("suspect", "verdict"):
        above, pending = set(), {stage}
        while pending:
            above |= pending
            pending = {before for before, after in edges if after in pending} - above
        assert {step.name for step in graph.needed_for(stage, steps)} == above


def test_no_lane_waits_for_the_other(reproduced):
    """Each step is taken once, after all that it needs; the longer lane comes first."""
    params = reproduced.params()
    params["repairs"] = {"a": {"tune": "unlearn"}, "b": {"tune": "relearn"}, "c": {"drop": 4}}
    pipeline = yaml.safe_load((reproduced.path / "dvc.yaml").read_text())
    steps = graph.needed_for("recommend", graph.steps(pipeline, params))
    seconds = {"a": 1, "b": 5, "c": 3}
    before, first, second, after = lanes.split(steps, lambda step: seconds[step.repair])
    assert {step.repair for step in first} == {"b"} and {step.repair for step in second} == {"a", "c"}
    assert sorted(map(str, (*before, *first, *second, *after))) == sorted(map(str, steps))
    made = {path: part for part in (before, first, second, after) for step in part for path in step.makes}
    for part, may in ((before, [before]), (first, [before, first]), (second, [before, second])):
        for step in part:
            own = [made[path] for path in made if graph.overlap({path}, step.needs)]
            assert all(any(one is other for other in may) for one in own)
    assert after[-1].stage == "recommend" and "examine" in {step.stage for step in before}


# In processes of their own


def words_of(project, out):
    data = project.path / "data/demo"
    given = [project.path / "models/demo/badnet.keras", data / "valid.h5", "--out", out]
    given += ["--params", project.path / "params.yaml", "--test", data / "test.h5", "--poisoned"]
    given += [f"{path.stem}={path}" for path in sorted((data / "poisoned").glob("*.h5"))]
    return [sys.executable, "-m", "goodnet.cli.main", "repair", *map(str, given)]


ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT / "stages")}


@pytest.mark.long(minutes=2)
def test_it_makes_what_the_pipeline_makes_also_when_it_was_killed(reproduced, tmp_path):
    """Killed after the first steps, and interrupted later on; then it goes on to the end."""
    out = tmp_path / "out"
    words = words_of(reproduced, out)
    state = out / command.WORK / stepping.STATE
    seen = []
    for count, number in ((2, signal.SIGKILL), (9, signal.SIGINT)):
        process = subprocess.Popen(
            words,
            env=ENVIRONMENT,
            stderr=subprocess.PIPE,
            text=True,
            # A shell that runs the tests in the background has its children ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        while process.poll() is None:
            with contextlib.suppress(OSError, ValueError):
                if len(json.loads(state.read_text())["done"]) >= count:
                    process.send_signal(number)
                    break
            time.sleep(0.01)
        said = process.communicate()[1]
        assert process.returncode == -number, said
        assert not (out / "verdict.json").exists() and not list(out.glob("*.keras"))
        seen.append(json.loads(state.read_text())["done"])
    assert said.splitlines()[-1].startswith("interrupted: ") and len(said.splitlines()) == 1
    assert seen[1][: len(seen[0])] == seen[0], "what was done is not done again"
    done = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode in (command.REPAIRED, command.NOT_REPAIRED) and done.stderr == ""
    for name in command.NETS:
        own, theirs = out / name, reproduced.path / "models/recommended" / name
        assert own.exists() == theirs.exists() and (not own.exists() or digest_of(own) == digest_of(theirs))
    told = json.loads((out / "verdict.json").read_text())
    theirs = json.loads((reproduced.path / "reports/suspects.json").read_text())
    theirs |= json.loads((reproduced.path / "reports/recommended.json").read_text())
    assert {name: told[name] for name in theirs} == theirs
    table = re.findall(r"^\| (?:BadNet|repaired|GoodNet) .*$", (out / "reports/README.md").read_text(), re.M)
    assert table == re.findall(
        r"^\| (?:BadNet|repaired|GoodNet) .*$", (reproduced.path / "reports/README.md").read_text(), re.M
    )


@pytest.mark.long(minutes=2)
def test_the_second_process_ends_with_the_first_and_may_be_killed_itself(files, run, monkeypatch):
    """What it has not come to do the first one does; all is as it would be with one process alone."""
    words = ["--input-max", 255, "--repairs", "tuned,relearned"]
    monkeypatch.setattr(lanes, "is_room", lambda: False)
    code, out, _, notes = run("bad net.keras", "clean.npz", *words)
    alone = contents(out)
    shutil.rmtree(out)
    endless = yaml.safe_load((files / "quick.yaml").read_text())
    for tuning in ("fine_tune", "relearn"):
        endless["tunings"][tuning]["epochs"] = 1_000_000
    (files / "endless.yaml").write_text(yaml.safe_dump(endless, sort_keys=False))

    def killed(which, params, after=0):
        """Run until the second process has worked for so many seconds, and kill one of the two.

        Return what the first came to.
        """
        given = [files / "bad net.keras", files / "clean.npz", "--out", out, "--params", files / params]
        command_line = [sys.executable, "-m", "goodnet.cli.main", "repair", *map(str, (*given, *words))]
        with subprocess.Popen(command_line, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
            first = psutil.Process(process.pid)
            second = None
            while second is None and process.poll() is None:
                with contextlib.suppress(psutil.Error):  # another child ends just then
                    second = next((one for one in first.children() if lanes.__name__ in one.cmdline()), None)
                time.sleep(0.01)
            while second.status() != psutil.STATUS_ZOMBIE and second.cpu_times().user < after:
                time.sleep(0.1)
            has_worked = second.cpu_times().user >= after
            (first, second)[which].kill()
            psutil.wait_procs([second], timeout=20)
            assert not second.is_running()
            said = process.communicate()[1]
        assert has_worked
        return process.returncode, said

    # In the middle of a step that would take days.
    assert killed(0, "endless.yaml", after=5)[0] == -signal.SIGKILL and not (out / "verdict.json").exists()
    assert killed(1, "quick.yaml") == (code, "".join(f"{note}\n" for note in notes))
    assert contents(out) == alone

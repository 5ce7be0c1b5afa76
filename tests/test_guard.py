"""Edits while a stage runs: a stage whose sources, parameters or inputs changed fails and leaves nothing."""

import os
import shutil
import sys
import time

import pytest

from conftest import ROOT, Project

SCRIPT = '''"""Wait until told to go on."""

import time
from pathlib import Path

from goodnet.files import outputs
from goodnet.process import commands
from goodnet.process.stages import stage


@stage(__doc__, inputs={"file": "a file", "folder": "a folder"}, outputs={"made": "what it makes"})
def main(args):
    value, text = args.params.value("block", "used"), args.file.read_text()
    outputs.write_text(args.made, f"{value} {text} {sorted(path.name for path in args.folder.iterdir())}")
    Path("begun").touch()
    while not Path("go").exists():
        time.sleep(0.005)


if __name__ == "__main__":
    commands.run(main)
'''
FLAGS = "--file file.txt --folder folder --made made.txt"
PIPELINE = f"""stages:
  wait:
    cmd: python stages/wait.py {FLAGS}
    deps: [file.txt, folder, stages/wait.py, stages/goodnet/files/outputs.py]
    params: [block]
    outs: [made.txt]
"""


@pytest.fixture
def waiting(tmp_path):
    """A project of one stage, which waits in mid-run."""
    shutil.copytree(ROOT / "stages", tmp_path / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "stages/wait.py").write_text(SCRIPT)
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    (tmp_path / "params.yaml").write_text("block: {used: 1, unused: 1}\n")
    (tmp_path / "file.txt").write_text("one")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/a").write_text("a")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    time.sleep(0.05)  # older than the stage, whose beginning is known to a hundredth of a second
    return Project.at(tmp_path)


def disturbed(project, edit, command):
    """Run a command, edit while its stage waits, and let it go on; return (exit code, what it said)."""
    begun, go = project.path / "begun", project.path / "go"
    for path in (begun, go):
        path.unlink(missing_ok=True)
    with project.started(command) as process:
        while not begun.exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        edit(project.path)
        go.touch()
        said = process.communicate()[0]
    return process.returncode, said


def appended(name, text):
    def edit(folder):
        with (folder / name).open("a") as file:
            file.write(text)

    return edit


def of_params(text):
    return lambda folder: (folder / "params.yaml").write_text(text)


def replaced_by_an_older(folder):
    """Put an older file of the same size in the place of an input."""
    other = folder / "other"
    other.write_text("two")
    os.utime(other, (0, 0))
    other.replace(folder / "file.txt")


CHANGES = {  # what is edited: (how, what the error names)
    "its script": (appended("stages/wait.py", "# a remark\n"), "stages/wait.py"),
    "a module it uses": (
        appended("stages/goodnet/files/outputs.py", "# a remark\n"),
        "stages/goodnet/files/outputs.py",
    ),
    "a module used by one it uses": (
        appended("stages/goodnet/params.py", "# a remark\n"),
        "stages/goodnet/params.py",
    ),
    "a module that is gone": (lambda folder: (folder / "stages/goodnet/errors.py").unlink(), "errors.py"),
    "a value it read": (of_params("block: {used: 2, unused: 1}\n"), "params.yaml: block.used"),
    "a value taken away": (of_params("block: {unused: 1}\n"), "params.yaml: block.used"),
    "parameters half written": (of_params("block: {used: 1, unu"), "params.yaml: block.used"),
    "an input": (appended("file.txt", "more"), "file.txt"),
    "an input, by an older file": (replaced_by_an_older, "file.txt"),
    "an input that is gone": (lambda folder: (folder / "file.txt").unlink(), "file.txt"),
    "a file of an input folder": (appended("folder/a", "more"), "folder"),
    "a file more in an input folder": (appended("folder/b", "b"), "folder"),
}
COMMAND = [sys.executable, "stages/wait.py", *FLAGS.split()]


@pytest.mark.parametrize("name", CHANGES)
def test_a_stage_whose_ground_shifts_fails_and_leaves_nothing(waiting, name):
    edit, named = CHANGES[name]
    code, said = disturbed(waiting, edit, COMMAND)
    assert code == 1
    (line,) = said.splitlines()
    assert line.startswith("error: ") and line.endswith(
        f"{named}: was changed while this stage ran; no output was kept; run the same command again"
    )
    assert not (waiting.path / "made.txt").exists()


UNUSED = {
    "a module it does not use": appended("stages/goodnet/report/figures.py", "# a remark\n"),
    "a value it did not read": of_params("block: {unused: 2, used: 1}\n"),
    "a value of another kind": of_params("block: {used: 1, unused: 1}\nother: more\n"),
    "a file not yet whole in an input folder": appended("folder/.b.partial.h5", "half"),
}


def test_edits_of_what_a_stage_does_not_use_disturb_nothing(waiting):
    def edit(folder):
        for one in UNUSED.values():
            one(folder)

    assert disturbed(waiting, edit, COMMAND) == (0, "")
    assert (waiting.path / "made.txt").read_text() == "1 one ['a']"


BEFORE = """import re
from pathlib import Path

import goodnet.errors

EDITED.write_text(re.sub("# early", "# late", EDITED.read_text()))
"""


@pytest.mark.parametrize("edited", ["stages/wait.py", "stages/goodnet/errors.py"])
def test_an_edit_before_the_guard_stands_counts(waiting, edited):
    """Python has read the old file, and DVC will see the new one."""
    file = waiting.path / edited
    (waiting.path / "stages/wait.py").write_text(BEFORE.replace("EDITED", f"Path({edited!r})") + SCRIPT)
    file.write_text(file.read_text() + "# early\n")
    (waiting.path / "go").touch()
    time.sleep(0.05)
    done = waiting.run(*COMMAND, check=False)
    assert done.returncode == 1 and f"{edited}: was changed while this stage ran" in done.stderr
    assert not (waiting.path / "made.txt").exists()


def test_dvc_runs_a_disturbed_stage_again_and_records_only_what_was_used(waiting):
    command = [sys.executable, "-m", "dvc", "repro"]
    edits = {
        "file.txt": lambda folder: (folder / "file.txt").write_text("two"),
        "params.yaml: block.used": of_params("block: {used: 2, unused: 1}\n"),
        "stages/goodnet/files/outputs.py": CHANGES["a module it uses"][0],
    }
    for named, edit in edits.items():
        code, said = disturbed(waiting, edit, command)
        assert code and f"error: {named}: was changed" in said and "Traceback" not in said
        assert not (waiting.path / "made.txt").exists() and not (waiting.path / "dvc.lock").exists()
    code, said = disturbed(waiting, UNUSED["a module it does not use"], command)
    assert code == 0, said
    assert (waiting.path / "made.txt").read_text() == "2 two ['a']"
    assert waiting.repro() == set()

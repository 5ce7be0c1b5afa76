"""Faults: after a kill, a full disk or a damaged file nothing is lost, and nobody gets half a result."""

import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml

from conftest import ROOT, Project, merged

MEGABYTE = 1 << 20


def entries(project):
    """Return what dvc.lock holds of each stage."""
    return yaml.safe_load((project.path / "dvc.lock").read_text())["stages"]


def outs(project):
    """Return {stage: paths of its results}."""
    return {name: [out["path"] for out in entry["outs"]] for name, entry in entries(project).items()}


def finished(folder, paths):
    """Return {path: bytes} of all that stands in `folder` under these paths, by its final name."""
    files = [file for path in paths for file in (folder / path, *(folder / path).rglob("*"))]
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in files
        if file.is_file() and not file.name.startswith(".")
    }


def assert_as(reproduced, project):
    """The project must hold what an undisturbed run makes, and nothing else."""
    paths = [path for stage in outs(reproduced).values() for path in stage]
    assert finished(project.path, paths) == finished(reproduced.path, paths)
    assert (project.path / "dvc.lock").read_text() == (reproduced.path / "dvc.lock").read_text()
    assert "up to date" in project.dvc("status").stdout
    assert not list(project.path.rglob("*.partial.*"))


def running(project):
    """Run dvc repro as a terminal does."""
    return project.started([sys.executable, "-m", "dvc", "repro"])


def wait_for(process, beginning):
    """Read what a run prints up to a line that begins so; return that line."""
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith(beginning):
            return line
    raise AssertionError(f"it ended without {beginning!r}:\n{''.join(said)}")


def documented(beginning):
    """Return the commands in docs/faults.md that begin so."""
    lines = (ROOT / "docs/faults.md").read_text().splitlines()
    commands = [line.strip() for line in lines if line.startswith(f"    {beginning}")]
    assert commands
    return commands


def unreadable(said):
    """Whether DVC says that it cannot read its own notes, which docs/faults.md has a remedy for."""
    return "'./dvc.lock' " in said or "Unable to read RWLock-file" in said


def mend(project):
    for command in documented("rm -f .dvc/tmp/rwlock"):
        project.run("bash", "-c", command)


def fresh(path):
    """Return a project with nothing made yet, but a dvc.lock in git to go back to."""
    project = Project(path)
    (path / "dvc.lock").write_text("schema: '2.0'\n")
    project.commit("nothing made yet")
    return project


# Kills


def wait_until(moment, seconds, process, paths):
    """Wait in a run whose stage with these results has just begun."""

    def all_made():
        return process.poll() is not None or all(path.exists() for path in paths)

    began = time.monotonic()
    if moment == "while it works":
        while time.monotonic() - began < seconds and not all_made():
            time.sleep(0.002)
    elif moment == "while DVC takes its results in":
        while not all_made():
            time.sleep(0.002)
        time.sleep(seconds / 10)
    else:
        wait_for(process, "Updating lock file")
        time.sleep(seconds / 10)


@pytest.mark.long(minutes=1.5)
def test_killed_again_and_again_a_run_comes_to_the_same_bytes(reproduced, tmp_path):
    """Every stage once while it works, every second once more when it has its results."""
    project = fresh(tmp_path / "killed")
    made, rng = outs(reproduced), random.Random(0)
    paths = [path for stage in made.values() for path in stage]
    whole = finished(reproduced.path, paths)
    moments = {stage: ["while it works"] for stage in made}
    for number, stage in enumerate(list(made)[::2]):
        moments[stage].append(["while DVC takes its results in", "while DVC notes them"][number % 2])

    killed, done = [], False
    while not done:
        with running(project) as process:
            said = []
            for line in process.stdout:
                said.append(line)
                stage = line.split("'")[1] if line.startswith("Running stage ") else None
                if moments.get(stage):
                    results = [project.path / path for path in made[stage]]
                    wait_until(moments[stage].pop(0), rng.uniform(0, 3), process, results)
                    killed += [stage] * (process.poll() is None)
                    break
            else:
                done = process.wait() == 0
                if not done:
                    assert unreadable("".join(said)), "".join(said)
                    mend(project)
        assert finished(project.path, paths).items() <= whole.items(), killed[-1]
    assert len(killed) >= len(made)  # a short stage may have ended before its turn came
    assert_as(reproduced, project)


def test_what_a_kill_leaves_beside_results_is_nothing_to_dvc_and_git(project):
    for folder in ("models/repaired", "data/demo/poisoned", "reports"):
        for name in (".x10.partial.keras", ".A1b2.tmp"):  # ours, DVC's
            (project.path / folder / name).write_bytes(b"half")
    assert "up to date" in project.dvc("status").stdout
    assert project.git("status", "--porcelain").stdout == ""


def test_notes_of_dvc_cut_short_cost_no_work(project):
    for name in ("dvc.lock", ".dvc/tmp/rwlock"):
        (project.path / name).write_text("")
        done = project.dvc("repro", check=False)
        assert done.returncode and unreadable(done.stderr)
        mend(project)
    assert project.repro() == set()


@pytest.mark.long
def test_a_second_run_at_once_is_refused_and_the_first_goes_on(project):
    script, go = project.path / "stages/prune.py", project.path / "go"
    wait = "import time\nfrom pathlib import Path\n\nwhile not Path('go').exists():\n    time.sleep(0.01)\n"
    script.write_text(wait + script.read_text())
    with running(project) as first:
        wait_for(first, "Running stage 'prune'")
        second = project.dvc("repro", check=False)
        assert second.returncode and "is busy" in second.stderr and f"PID {first.pid}" in second.stderr
        assert "Traceback" not in second.stderr
        go.touch()
        first.communicate()
        assert first.returncode == 0
    assert project.repro() == set()


@pytest.mark.parametrize(
    ("keys", "value", "seconds"),
    [
        ("detectors.occluders.seed", 2, 1.5),  # TensorFlow is being imported
        pytest.param("demo_badnet.epochs", 1000, 6, marks=pytest.mark.long),  # it trains
    ],
)
def test_ctrl_c_is_one_line_of_ours_and_one_of_dvc(reproduced, project, keys, value, seconds):
    params = project.params()
    for key in reversed(keys.split(".")):
        value = {key: value}
    project.write_params(merged(params, value))
    with running(project) as process:
        wait_for(process, "> python stages/")
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate()[0]
    assert process.returncode
    lines = [line for line in said.splitlines() if line]
    assert len(lines) == 2, said
    assert lines[0].startswith("interrupted: ") and lines[1].startswith("ERROR: failed to reproduce"), said
    project.write_params(params)
    project.repro()
    assert_as(reproduced, project)


# A training that was killed


@pytest.mark.long
def test_a_killed_training_goes_on_unless_code_that_it_uses_changed(project):
    """Told by the epochs it has kept when it first keeps any."""
    project.write_params(merged(project.params(), {"tunings": {"relearn": {"epochs": 1000}}}))
    project.repro("plan")
    kept = project.path / "models/repaired/.relearned.training.partial.npz"
    repair = shlex.split(entries(project)["repair@relearned"]["cmd"])

    def first_kept(least):
        """Run the repair until it has kept so many epochs more; return what it kept first, and last."""
        begun = None
        before = kept.stat().st_mtime_ns if kept.exists() else 0
        with project.started(repair) as process:
            while True:
                assert process.poll() is None, process.communicate()
                time.sleep(0.002)
                if kept.exists() and kept.stat().st_mtime_ns != before:
                    with np.load(kept) as content:
                        now = int(content["epochs"])
                    begun = begun or now
                    if now >= begun + least:
                        return begun, now

    _, last = first_kept(20)
    for edited, goes_on in (
        ("report/figures.py", True),
        ("suspects/search.py", True),
        ("nets/running.py", False),
    ):
        with (project.path / "stages/goodnet" / edited).open("a") as file:
            file.write("# a remark\n")
        time.sleep(0.05)
        begun, now = first_kept(20)
        assert (begun > last) == goes_on, edited
        last = now


# Disks


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={16 * MEGABYTE}", "tmpfs", path]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip(
            "mounting a small disk needs root: run the tests as root, or in a container with SYS_ADMIN"
        )
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


def remount(disk, option):
    subprocess.run(["mount", "-o", f"remount,{option}", disk], check=True)


def run_on(disk, project, stage):
    """Run a stage as DVC does, but for its results, which go to another disk."""
    paths = outs(project)[stage]
    command = shlex.split(entries(project)[stage]["cmd"])
    return project.run(*(str(disk / word) if word in paths else word for word in command), check=False)


def assert_one_line(done, disk, reason):
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and re.fullmatch(rf"error: {disk}/[\w/@]+(\.\w+)?: {reason}", lines[0]), (
        done.stderr
    )


WRITERS = {  # a stage for each way in which results are written
    "demo_data": "HDF5 at once",
    "rank": "CSV",
    "plan": "JSON",
    "repair@x10": "a net as it is",
    "profile_channels": "HDF5 bit by bit",
    "repair@relearned": "a scratch file",
    "evaluate_repaired@x10": "a net of Keras",
    "report": "pictures",
}
QUICK = {"demo_data", "rank", "plan", "repair@x10"}


@pytest.mark.parametrize(
    "stage", [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in WRITERS]
)
def test_a_full_disk_is_one_line_and_nothing_half_written(reproduced, disk, stage):
    paths = outs(reproduced)[stage]
    whole = finished(reproduced.path, paths)
    room = sum(map(len, whole.values())) // 2
    other = disk / "other"
    other.write_bytes(bytes(16 * MEGABYTE - room))
    done = run_on(disk, reproduced, stage)
    assert_one_line(done, disk, "No space left on device")
    assert finished(disk, paths).items() <= whole.items()
    assert not list(disk.rglob(".*"))
    other.unlink()
    assert run_on(disk, reproduced, stage).returncode == 0
    assert finished(disk, paths) == whole


@pytest.mark.parametrize("stage", [pytest.param("demo_data", marks=pytest.mark.long), "rank"])
def test_a_disk_that_cannot_be_written_is_one_line(reproduced, disk, stage):
    for path in outs(reproduced)[stage]:
        (disk / path).parent.mkdir(parents=True, exist_ok=True)
    remount(disk, "ro")
    assert_one_line(run_on(disk, reproduced, stage), disk, "Read-only file system")


@pytest.mark.long
def test_a_clone_on_a_disk_too_small_goes_on_once_there_is_room(reproduced, disk):
    project = fresh(disk / "clone")
    full, taken = 0, shutil.disk_usage(disk).used
    for more in (1, 5, 13, 22, 195):  # the first holds little more than the project
        remount(disk, f"size={taken + more * MEGABYTE}")
        done = project.dvc("repro", check=False)
        if unreadable(done.stderr):
            mend(project)
            done = project.dvc("repro", check=False)
        if done.returncode:
            full += 1
            assert "No space left on device" in done.stderr
            assert "Traceback" not in done.stderr
    assert full >= 3
    assert_as(reproduced, project)


# Damage


def flip_a_bit(path):
    """Change a file as a bad disk does, without a trace in its dates."""
    status, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(status.st_mode)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_damage_in_the_cache_and_outside_is_found_and_mended(reproduced, project):
    md5s = {out["path"]: out["md5"] for entry in entries(project).values() for out in entry["outs"]}
    for result in ("reports/curve.csv", "models/repaired/x10.keras"):
        flip_a_bit(project.path / ".dvc/cache/files/md5" / md5s[result][:2] / md5s[result][2:])
        (project.path / result).unlink()
    project.dvc("checkout")  # hands them out as they are
    flip_a_bit(project.path / "reports/ranking.csv")
    for command in documented("find "):
        project.run("bash", "-c", command)
    assert project.repro() == {"prune", "repair@x10"}  # the ranking is whole in the cache
    assert_as(reproduced, project)

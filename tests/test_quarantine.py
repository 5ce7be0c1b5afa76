"""Quarantine: what a file may cost, what the child that opens it can reach, and what the user is told."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import h5py
import keras
import numpy as np
import pytest
from PIL import Image

import hostile
import measuring
import nets
from conftest import ROOT, Project
from goodnet.cli import placing
from goodnet.errors import InputError
from goodnet.files import names
from goodnet.images import inputs
from goodnet.nets import goodnets, loading, netfiles
from goodnet.params import Params
from goodnet.quarantine import confinement, frames, opening
from goodnet.quarantine.limits import GIGABYTE, Limits
from goodnet.report import text

TIGHT = Limits(memory=1, seconds=8)
# A command's own: Python and TensorFlow, in it and in the child.
OWN_MEMORY, OWN_SECONDS = 1.2, 20


def refused(read, *words):
    with pytest.raises(InputError) as error:
        read()
    line = names.printable(error.value)
    assert all(word in line for word in words) and len(line) < 600, line


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A net and images that are what they should be."""
    folder = tmp_path_factory.mktemp("sound")
    net, _ = nets.shared("sequential")
    nets.save(net, folder / "net.keras")
    shown = nets.pictures(60)
    with h5py.File(folder / "clean.h5", "w") as file:
        file["data"], file["label"] = shown, nets.answers(net, shown)
    (folder / "pictures").mkdir()
    for number, picture in enumerate(shown[:20].astype(np.uint8)):
        Image.fromarray(picture).save(folder / f"pictures/{number:02}.png")
    return folder


# What comes back is what was in the file.


def test_a_net_comes_back_byte_for_byte(tmp_path, sound):
    loading.save(opening.net(sound / "net.keras", Limits()), tmp_path / "opened.keras")
    loading.save(netfiles.load(sound / "net.keras"), tmp_path / "loaded.keras")
    assert (tmp_path / "opened.keras").read_bytes() == (tmp_path / "loaded.keras").read_bytes()


@pytest.mark.parametrize("fraction_from", [0, 700, 2000])
def test_images_come_back_as_they_are(tmp_path, fraction_from):
    shown, labels = nets.pictures(1200), np.arange(1200) % 7
    shown[fraction_from:] = np.minimum(shown[fraction_from:] + 0.25, 255)
    with h5py.File(tmp_path / "given.h5", "w") as file:
        file.create_dataset("data", data=np.moveaxis(shown, -1, 1), compression="gzip")
        file["label"] = labels
    opening.images(tmp_path / "given.h5", tmp_path / "copy.h5", Limits())
    with h5py.File(tmp_path / "copy.h5") as file:
        assert np.array_equal(file["data"], np.moveaxis(shown, -1, 1).astype(np.float32))
        assert np.array_equal(file["label"], labels)
        assert file["data"].dtype == (np.uint8 if fraction_from == 2000 else np.float32)


def test_a_picture_that_costs_too_much_does_not_stop_the_others(tmp_path):
    good = tmp_path / "good.png"
    Image.fromarray(nets.pictures(1)[0].astype(np.uint8)).save(good)
    hostile.many_scans(tmp_path / "many.jpg")
    paths = [good, tmp_path / "many.jpg", good, tmp_path / "none.png", good]
    one, costly, two, missing, three = opening.pictures(paths, nets.SHAPE, TIGHT)
    assert np.array_equal(one, two) and np.array_equal(two, three) and one.shape == nets.SHAPE
    assert "many.jpg: needs more than" in str(costly) and "--seconds" in str(costly)
    assert "none.png: no such file" in str(missing)


# What the child can reach.


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux, which takes these away from a process")
def test_the_child_reaches_nothing_but_its_file(tmp_path):
    (tmp_path / "scratch").mkdir()
    for name in ("given", "secret"):
        (tmp_path / name).write_text(name)
    program = """if True:
        import json, os, socket, subprocess, sys
        from pathlib import Path
        from goodnet.quarantine import confinement
        folder = Path(sys.argv[1])
        confinement.confine([folder / "given"], folder / "scratch")
        def attempt(act):
            try:
                act()
                return True
            except OSError:
                return False
        print(json.dumps({
            "its file": attempt((folder / "given").read_bytes),
            "its scratch": attempt(lambda: (folder / "scratch/a").write_text("a")),
            "its file, to write": attempt(lambda: (folder / "given").write_text("a")),
            "another file": attempt((folder / "secret").read_bytes),
            "another file, to cut": attempt(lambda: os.truncate(folder / "secret", 0)),
            "a folder": attempt(lambda: os.listdir(folder)),
            "a program": attempt(lambda: subprocess.run(["true"])),
            "a socket": attempt(socket.socket),
            "its parent": attempt(lambda: os.kill(os.getppid(), 0)),
        }))
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT / "stages")}
    words = [sys.executable, "-c", program, tmp_path]
    said = subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout
    reached = {name for name, done in json.loads(said).items() if done}
    lacks_landlock = confinement._libc().syscall(confinement.LANDLOCK_CREATE, None, 0, 1) < 0
    if lacks_landlock:
        reached -= {"its file, to write", "another file", "another file, to cut", "a folder"}
    assert reached == {"its file", "its scratch"}


def test_no_module_of_the_folder_it_is_started_in_is_imported(tmp_path, sound, monkeypatch):
    for name in ("h5py", "numpy", "goodnet", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('ran')")
    monkeypatch.chdir(tmp_path)
    assert opening.net(sound / "net.keras", Limits()).output_shape[-1] == nets.CLASSES


@pytest.mark.parametrize(
    "content",
    [
        b"nonsense\n",
        b"[1]\n",
        b'{"dtype": "|O", "shape": [1]}\n12345678',
        b'{"dtype": "<f4", "shape": [-1, -4]}\n',
        b'{"dtype": "<f4", "shape": [1000000000000]}\n',
        b'{"dtype": "<f4", "shape": [2]}\n1234',
        b'{"dtype": "<f4"}\n',
    ],
)
def test_a_child_that_is_no_longer_ours_is_not_believed(tmp_path, content):
    (tmp_path / "frames").write_bytes(content)
    with (tmp_path / "frames").open("rb") as stream, pytest.raises((ValueError, KeyError)):
        frames.take(stream, 1000)


# What a file may cost.


def test_what_needs_too_much_is_told_as_such(tmp_path):
    limits = Limits(memory=0.5, seconds=3)
    path = tmp_path / "net.keras"
    hostile.archived(path, hostile.NETS["an orthogonal kernel"]())
    refused(lambda: opening.net(path, limits), f"{path}: needs more than 0.5 GB", "--memory 1")
    hostile.archived(path, hostile.NETS["a pool of ninety thousand"]())
    refused(lambda: opening.net(path, limits), f"{path}: needs more than 3 s", "--seconds 6")
    hostile.archived(path, hostile.NETS["a pool without end"]())
    refused(lambda: opening.net(path, limits), f"{path}: makes the library that reads it crash (SIGABRT)")


def test_limits_grow_with_a_net_that_is_large(tmp_path):
    limits = Limits()
    assert limits.bytes_for(10**9) > 5 * 10**9 and limits.seconds_for(10**9) > 100
    assert limits.bytes_for(2000) < 2.01 * GIGABYTE and limits.seconds_for(2000) < 21


# A process's peak of memory begins with that of the process that forks it: here a small one.
def measured(words, folder):
    """Run a command; return its exit code, lines, lines on standard error, seconds, and gigabytes at most."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "stages")}
    command = [sys.executable, "-P", "-m", "goodnet.cli.main", *map(str, words)]
    with (folder / "out").open("w+b") as out, (folder / "err").open("w+b") as err:
        used = measuring.run(command, env=environment, stdout=out, stderr=err, cwd=folder)
    said = [(folder / name).read_text(encoding="utf-8").splitlines() for name in ("out", "err")]
    return used.code, *said, used.seconds, used.peak / GIGABYTE


def made_elsewhere(table, name, path):
    """Make a hostile file in a process of its own: some take gigabytes to be made."""
    folders = [str(ROOT / folder) for folder in ("stages", "tests")]
    program = f"""if True:
        import sys
        from pathlib import Path
        sys.path[:0] = {folders!r}
        import hostile
        made = hostile.{table}[{name!r}]
        (made[1] if isinstance(made, tuple) else made)(Path(sys.argv[1]))
    """
    subprocess.run([sys.executable, "-c", program, path], check=True, capture_output=True)


HOSTILE = [
    *(("net", name) for name in hostile.NETS),
    *(("archive", name) for name in hostile.ARCHIVES),
    *(("weights", name) for name in hostile.WEIGHTS),
    *(("images", name) for name in hostile.IMAGES),
    *(("picture", name) for name in hostile.PICTURES),
]
SOUND_AFTER_ALL = {"a size that is a lie", "groups in groups"}  # Python's zipfile and Keras do not mind


@pytest.mark.long
@pytest.mark.parametrize(("kind", "name"), HOSTILE, ids=lambda value: value.replace(" ", "-"))
def test_a_hostile_file_costs_little_and_ends_in_one_line(tmp_path, sound, kind, name):
    limits = ["--memory", TIGHT.memory, "--seconds", TIGHT.seconds]
    if kind == "picture":
        folder = tmp_path / "pictures"
        folder.mkdir()
        made_elsewhere("PICTURES", name, folder / hostile.PICTURES[name][0])
        words = ["classify", sound / "net.keras", folder, "--input-max", 255]
    elif kind == "images":
        made_elsewhere("IMAGES", name, tmp_path / "images.h5")
        words = ["suspect", sound / "net.keras", tmp_path / "images.h5"]
    elif kind == "net":
        hostile.archived(tmp_path / "net.keras", hostile.NETS[name]())
        words = ["suspect", tmp_path / "net.keras", sound / "pictures"]
    else:
        path = tmp_path / ("net.keras" if kind == "archive" else "net.h5")
        (hostile.ARCHIVES if kind == "archive" else hostile.WEIGHTS)[name](path)
        words = ["suspect", path, sound / "pictures"]
    code, lines, errors, seconds, gigabytes = measured([*words, *limits], tmp_path)
    assert gigabytes < TIGHT.memory + OWN_MEMORY, gigabytes
    assert seconds < TIGHT.seconds + OWN_SECONDS, seconds
    assert all(line.isprintable() for line in (*lines, *errors)), errors
    if name in SOUND_AFTER_ALL:
        assert code in (0, 1, 3)
        return
    assert (code, lines) == (2, [])
    assert all(line.startswith("error: ") for line in errors) and len(errors) == 1 + (kind == "picture"), (
        errors
    )
    assert len(errors[0]) < 600


# Nothing misleads.


def test_the_rule_of_a_goodnet_is_told_by_its_structure(tmp_path):
    net, _ = nets.shared("sequential")
    good = goodnets.build(net, nets.cloned(net), "pool", None)
    assert goodnets.is_goodnet(good)
    last = good.layers[-1]
    renamed = keras.Model.from_config(last.get_config() | {"name": "another"})
    assert goodnets.is_goodnet(keras.Model(good.input, renamed(last._inbound_nodes[-1].input_tensors)))
    hostile.called_rule(tmp_path / "called.keras")
    called = loading.load(tmp_path / "called.keras")
    assert called.layers[-1].name == goodnets.RULE and not goodnets.is_goodnet(called)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("pool_3", "`pool_3`"),
        ("a\n# Held\n<b>|`", "`` a\\n# Held\\n<b>|` ``"),
        ("``\x1b[2J\u202e", "``` ``\\x1b[2J\\u202e ```"),
    ],
)
def test_a_layer_s_name_is_shown_as_it_is(name, shown):
    assert text._channels(name, None) == f"The net is split at layer {shown}. No repair prunes."


# params.yaml


def anchors(levels):
    lines = ["a: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfea", "not text in UTF-8"),
        (b"a: \0", "not valid YAML"),
        (b"[" * 3000, "nests too deep"),
        (b"a: !!int abc", "not valid YAML"),
        (b"a: 2024-13-45", "month"),
        (b"a: !!bool x", "not valid YAML"),
        (b"a: !!timestamp x", "not valid YAML"),
        (b"? [a, b]\n: 1", "unhashable"),
        (b"a: !!python/object:os.system []", "tag"),
        (b"a: " + b"9" * 10_000, "digits"),
        (b"- 1", "names with values"),
        (b"", "names with values"),
        (b"a: &a {b: *a}", "holds itself"),
        (anchors(12), "100,000 values"),
        (b"a: &a {b: 1}\n" + b"c: {<<: [" + b"*a, " * 10_000 + b"*a]}", None),
        (b"x" * 2_000_000, "1,048,576 bytes"),
    ],
)
def test_parameters_that_are_none_are_one_line(tmp_path, content, words):
    (tmp_path / "params.yaml").write_bytes(content)
    if words is None:
        assert Params(tmp_path / "params.yaml").value("c") == {"b": 1}
        return
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(lambda: Params(tmp_path / "params.yaml"), str(tmp_path / "params.yaml"), words)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


@pytest.mark.parametrize("name", ["../out", "/tmp/out", "a/b", ".", "a\nb", "a" * 101])
def test_no_name_leads_out_of_its_folder(tmp_path, name):
    (tmp_path / "params.yaml").write_text(json.dumps({"nets": {name: {"input_max": 1}}}))
    refused(lambda: inputs.of_net(Params(tmp_path / "params.yaml"), name), "the net", "file's name")


# Added whole or not at all.


def left(folder):
    """Return {path: content} of all of a project but what git and DVC keep for themselves."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    inside = {path.relative_to(folder): path for path in files}
    return {name: path.read_bytes() for name, path in inside.items() if name.parts[0] not in (".dvc", ".git")}


@pytest.fixture
def adding(tmp_path, sound):
    project = Project(tmp_path / "project")
    words = ["add", "mine", "--net", sound / "net.keras", "--valid", sound / "clean.h5"]
    words += ["--test", sound / "clean.h5", "--input-max", 255, "--project", project.path]
    return project, words


def is_whole(folder):
    placed = ["data/mine/valid.h5", "data/mine/test.h5", "data/mine/poisoned", "models/mine/badnet.keras"]
    return all((folder / name).exists() and (folder / f"{name}.dvc").exists() for name in placed)


def test_an_add_cut_off_between_two_renames_is_finished_by_the_next(adding, monkeypatch):
    from goodnet.cli import main

    project, words = adding
    replace, done = placing.Path.replace, []

    def cut_off(path, target):
        if placing.PREFIX in str(path):
            done.append(path)
            if len(done) == 4:
                raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(placing.Path, "replace", cut_off)
    before = left(project.path)
    with pytest.raises(KeyboardInterrupt):
        main.main(words)
    monkeypatch.undo()
    assert left(project.path) != before and "mine" not in project.params()["nets"]
    refusal = ["add", "other", "--net", words[5], *words[4:]]  # its net is no net
    with pytest.raises(InputError):
        main.main(refusal)
    assert is_whole(project.path) and project.params()["badnet"] == "mine"
    assert not list(project.path.glob(f".dvc/tmp/{placing.PREFIX}*/"))


@pytest.mark.long
def test_an_add_killed_at_any_moment_changes_all_or_nothing(adding):
    project, words = adding
    environment = os.environ | {"PYTHONPATH": str(ROOT / "stages")}
    command = [sys.executable, "-P", "-m", "goodnet.cli.main", *map(str, words)]
    before, start = left(project.path), time.monotonic()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    lasted = time.monotonic() - start
    complete = left(project.path)
    outcomes = set()
    for moment in range(24):
        for name in complete.keys() - before.keys():
            (project.path / name).unlink(missing_ok=True)
        for name in ("data/mine", "models/mine"):
            shutil.rmtree(project.path / name, ignore_errors=True)
        for name, content in before.items():
            (project.path / name).write_bytes(content)
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(lasted * (moment + 0.5) / 22)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        now = left(project.path)
        assert now == before or is_whole(project.path), moment
        outcomes.add(now == before)
    assert True in outcomes
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert left(project.path) == complete
    assert not list(project.path.glob(f".dvc/tmp/{placing.PREFIX}*/"))

"""goodnet audit: a folder of nets on a real Dask cluster, and what it is made of without one."""

import argparse
import contextlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import keras
import numpy as np
import psutil
import pytest
import yaml
from PIL import Image

import hostile
import nets
from conftest import QUICK, ROOT, merged
from fleets import Dask
from goodnet.audit import finding, judging, keeping, packing, table
from goodnet.cli import audit as command
from goodnet.cli import main, repair
from goodnet.errors import InputError
from goodnet.nets import kinds, loading, parts
from goodnet.report import html
from goodnet.suspects import verdict
from test_page import browser, opened  # noqa: F401

NOWHERE = "tcp://127.0.0.1:1"  # whoever asks for a cluster fails
PICTURES = nets.muted(40).round().astype(np.uint8)
LINES = {
    "cut.keras": "or is cut short",
    "none.h5": "is not an HDF5 file, or is cut short",
    "other/lambda.keras": "Lambda",
    "other/small.keras": "clean.npz: ",
    "torch.pt": "is a PyTorch file; goodnet takes nets saved by Keras",
}


# With a cluster


def small():
    """A net for images of another size."""
    images = keras.Input((8, 8, 3))
    made = keras.layers.Conv2D(2, 3, activation="relu")(images)
    return keras.Model(images, keras.layers.Dense(7)(keras.layers.Flatten()(made)))


def write_nets(folder):
    """Write five backdoored nets, four clean ones, and five files that no repair can be made of."""
    for name in ("first", "second", "other"):
        (folder / name).mkdir(parents=True)
    bad = {"bad net": 600, "first/net": 580, "second/net": 560, "second/more": 540, "second/-odd": 520}
    for name, strength in bad.items():
        loading.save(nets.sloped(strength), folder / f"{name}.keras")
    for name, strength in {"clean": 0.0, "first/clean": -1e-3, "second/clean": -2e-3, "a": -3e-3}.items():
        loading.save(nets.backdoored(strength), folder / f"{name}.keras")
    whole = (folder / "clean.keras").read_bytes()
    (folder / "cut.keras").write_bytes(whole[: len(whole) // 2])
    (folder / "none.h5").write_bytes(b"no net at all")
    (folder / "torch.pt").write_bytes(b"\x80\x02")
    loading.save(small(), folder / "other/small.keras")
    runs = hostile.flat(hostile.layer("Lambda", name="own", function="x"))
    hostile.archived(folder / "other/lambda.keras", runs)
    return [f"{name}.keras" for name in bad]


class Audit:
    """A folder of nets, and the audit of it as a user runs it there.

    Parameters
    ----------
    path : Path
    """

    environment = os.environ | {"PYTHONPATH": str(ROOT / "stages")}

    def __init__(self, path):
        self.path, self.out = path, path / "out"
        self.bad = write_nets(path / "nets")
        np.savez(path / "clean.npz", data=PICTURES, label=nets.answers(nets.sloped(), PICTURES))
        params = merged(yaml.safe_load((ROOT / "params.yaml").read_text()), QUICK)
        (path / "quick.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        self.choices = ["--params", "quick.yaml", "--input-max", "255", "--repairs", "x04"]

    def words(self, address):
        """Return the command, as Python runs it."""
        own = ["audit", "nets", "clean.npz", "--out", "out", *self.choices]
        where = ["--scheduler", address, "--cores", "1", "--gigabytes", "1"]
        return [sys.executable, "-P", "-m", "goodnet.cli.main", *own, *where]

    @contextlib.contextmanager
    def started(self, address):
        process = subprocess.Popen(
            self.words(address),
            cwd=self.path,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell that runs the tests in the background has its children ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def run(self, address):
        """Run it to its end; return the exit code, and the lines on both outputs."""
        with self.started(address) as process:
            said, noted = process.communicate(timeout=900)
        return process.returncode, said.splitlines(), noted.splitlines()

    def records(self):
        """Return {name: when it was written} of the nets that have ended."""
        found = self.out / keeping.RECORDS
        return {path.name: path.stat().st_mtime_ns for path in found.glob("*.json")}

    def until(self, count, process):
        """Wait until so many nets have ended."""
        while len(self.records()) < count:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)

    def contents(self):
        paths = (path for path in self.out.rglob("*") if path.is_file() and path.name != keeping.LOCK)
        return {path.relative_to(self.out).as_posix(): path.read_bytes() for path in paths}

    def told(self):
        return json.loads((self.out / keeping.JSON).read_text())

    def rows(self):
        return {row["net"]: row for row in self.told()["nets"]}

    def written(self):
        """Return {net: when its files were written}."""
        return {
            name: (self.out / row["folder"] / repair.LAST).stat().st_mtime_ns
            for name, row in self.rows().items()
            if row["folder"]
        }


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    with Dask(tmp_path_factory.mktemp("dask")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def audited(tmp_path_factory, dask):
    """An audit that was interrupted, went on, and lost a worker on the way to its end."""
    audit = Audit(tmp_path_factory.mktemp("many nets"))
    with audit.started(dask.address) as process:
        audit.until(2, process)
        process.send_signal(signal.SIGINT)
        _, noted = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT and noted.startswith("interrupted: "), noted
    assert not (audit.out / keeping.JSON).exists()
    before = audit.records()
    with audit.started(dask.address) as process:
        audit.until(len(before) + 2, process)
        ended = audit.records()
        worker, child, net = at_work(dask)
        dask.kill(worker)
        gone, alive = psutil.wait_procs([child], timeout=20)
        audit.said = process.communicate(timeout=900)
    assert gone and not alive, "a repair ends with its worker"
    audit.code, audit.before, audit.ended, audit.killed = process.returncode, before, ended, net
    dask.add()
    return audit


def at_work(dask):
    """Return a worker that repairs a net, the process in which it does, and the net."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for worker in dask.workers:
            for process in worker.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    words = process.cmdline()
                    if "repair" in words:
                        return worker, process, words[words.index("repair") + 1]
        time.sleep(0.05)
    raise AssertionError("no worker is at work")


@pytest.mark.long(minutes=5)  # the same for all that share the audit
def test_every_net_has_its_row_also_after_an_interrupt_and_a_killed_worker(audited):
    rows = audited.rows()
    assert audited.code == audited.told()["exit_code"] == table.BACKDOORED, audited.said
    files = [path for path in (audited.path / "nets").rglob("*") if path.is_file()]
    assert len(files) == len(rows) == 14
    for name, row in rows.items():
        assert row["net"] == name and (row["error"] is None) == (name not in LINES), row
        assert (row["verdict"] == verdict.BACKDOORED) == (name in audited.bad)
        if name in LINES:
            assert row["verdict"] == table.FAILED and LINES[name] in row["error"]
            start = "clean.npz: " if name == "other/small.keras" else f"nets/{name}: "
            assert row["error"].startswith(start) and "\n" not in row["error"]
            continue
        assert row["verdict"] == (verdict.BACKDOORED if name in audited.bad else verdict.NOTHING)
        assert row["targets"] == ([nets.TARGET] if name in audited.bad else [])
        assert (row["kind"], row["input"], row["classes"]) == ("plain, 1 convolution", [12, 10, 3], 7)
        assert row["seconds"] > 0 and (audited.out / row["folder"] / "index.html").is_file()
    said = audited.said[0].splitlines()
    assert said[0] == "14 nets: 5 likely backdoored, 5 could not be judged, 4 without a sign of a backdoor"
    assert said[1:] == [f"taken from the last run: {len(audited.before)}", "out/index.html"]
    # What had ended is not done again; the net of the killed worker is.
    after = audited.records()
    assert audited.before.items() <= audited.ended.items() <= after.items()
    assert rows[audited.killed.removeprefix("nets/")]["verdict"] != table.FAILED or (
        audited.killed.removeprefix("nets/") in LINES
    )
    assert not list(audited.out.rglob("*.partial*"))


@pytest.mark.long(minutes=5)  # the same for all that share the audit
def test_a_nets_files_are_those_of_its_own_repair(audited, tmp_path):
    """By the command that they show, in a folder with the same files."""
    shutil.copytree(audited.path, tmp_path / "there", ignore=shutil.ignore_patterns("out"))
    folder = audited.out / audited.rows()["second/-odd.keras"]["folder"]
    (words,) = re.findall(r"^    (goodnet repair .*)$", (folder / "how.md").read_text(), re.MULTILINE)
    assert html.content((folder / "index.html").read_text(), "page")["reproduce"]["commands"] == [words]
    line = f"{shlex.quote(sys.executable)} -P -m goodnet.cli.main {words.removeprefix('goodnet ')}"
    done = subprocess.run(
        line, shell=True, cwd=tmp_path / "there", env=audited.environment, capture_output=True, check=False
    )
    assert done.returncode in (repair.REPAIRED, repair.NOT_REPAIRED), done.stderr
    alone = tmp_path / "there" / folder.relative_to(audited.path)
    files = {path.relative_to(alone) for path in alone.rglob("*") if path.is_file()}
    assert files == {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    for file in files:
        assert (alone / file).read_bytes() == (folder / file).read_bytes(), file


@pytest.mark.long(minutes=5)  # the same for all that share the audit
def test_a_second_run_asks_only_about_what_is_new(audited, dask, tmp_path):
    before, times = audited.contents(), audited.written()
    code, said, noted = audited.run(NOWHERE)
    assert code == table.BACKDOORED and noted == [] and "taken from the last run: 13" in said
    assert audited.contents() == before and audited.written() == times
    # One has changed, one is gone, and of one not all files are whole.
    loading.save(nets.backdoored(-1.0), audited.path / "nets/clean.keras")
    (audited.path / "nets/a.keras").unlink()
    gone, cut = (audited.out / audited.rows()[name]["folder"] for name in ("a.keras", "first/clean.keras"))
    (cut / "index.html").write_bytes(b"<html>")
    code, said, noted = audited.run(dask.address)
    assert code == table.BACKDOORED and noted == [] and "taken from the last run: 10" in said
    assert not gone.exists() and "a.keras" not in audited.rows()
    after = audited.written()
    assert {name for name in after if after[name] != times[name]} == {"clean.keras", "first/clean.keras"}
    name = (cut / "index.html").relative_to(audited.out).as_posix()
    assert audited.contents()[name] == before[name]


@pytest.mark.long(minutes=1)
def test_without_a_scheduler_it_runs_on_this_machine_and_errors_are_rows(tmp_path):
    """With names that no file should have, relative to another folder, and pictures in a folder."""
    (tmp_path / "nets").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "nets/<b>\n.keras").write_bytes(b"no net")
    (tmp_path / "faces").mkdir()
    for number, picture in enumerate(PICTURES[:20]):
        Image.fromarray(picture).save(tmp_path / "faces" / f"{number:02}.png")
    words = ["audit", "../nets", "../faces", "--out", tmp_path / "out", "--workers", "1", "--json"]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "goodnet.cli.main", *map(str, words)],
        cwd=tmp_path / "here",
        env=Audit.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == table.SOME_FAILED and done.stderr == ""
    told = json.loads(done.stdout)
    assert told == json.loads((tmp_path / "out/audit.json").read_text())
    (row,) = told["nets"]
    assert row["net"] == "<b>\\n.keras" and row["error"].startswith("../nets/<b>\\n.keras: ")
    assert told["reproduce"]["commands"] == ["goodnet audit ../nets ../faces --out ../out"]


@pytest.mark.long(minutes=1)
def test_ctrl_c_ends_all_that_it_has_started_on_this_machine_in_one_line(tmp_path):
    """As a terminal sends it: to all processes of the group."""
    audit = Audit(tmp_path)
    words = audit.words(NOWHERE)
    words[words.index("--scheduler") : words.index("--cores")] = ["--workers", "2"]
    process = psutil.Popen(
        words,
        cwd=tmp_path,
        env=audit.environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        while not any("repair" in own for own in commands_below(process)):
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        below = process.children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=60)[1]
        _, alive = psutil.wait_procs(below, timeout=20)
    finally:
        for one in [*process.children(recursive=True), process] if process.is_running() else []:
            one.kill()
    assert process.returncode == -signal.SIGINT and not alive
    assert said == "interrupted: no partial output; run the same command again\n"


def commands_below(process):
    for one in process.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            yield one.cmdline()


# Without a cluster


def test_nets_are_found_and_none_is_called_as_another(tmp_path):
    names = ["a.keras", "a.h5", "b/a.keras", "b-a.keras", "b c.HDF5", "x.onnx", "ä/é.keras", "ö/é.keras"]
    passed_over = ["clean.h5", "read.me", ".hidden.h5", ".git/a.h5", "out/nets/a.h5", "faces/a.pkl"]
    for name in (*names, *passed_over):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "lost.keras").symlink_to("nowhere")
    (tmp_path / "b/around").symlink_to("..")
    os.mkfifo(tmp_path / "pipe.h5")
    others = [tmp_path / name for name in ("clean.h5", "out", "faces")]
    found = {net.name: net for net in finding.find(tmp_path, others)}
    assert set(found) == {*names, "lost.keras", "pipe.h5"} and list(found) == sorted(found)
    folders = {net.folder for net in found.values()}
    assert len(folders) == len(found) and all(finding.PLAIN.fullmatch(name) for name in folders)
    assert found["a.keras"].folder == "a.keras" and found["b/a.keras"].folder.startswith("b-a.keras-")
    refused = {name: net.refused for name, net in found.items() if net.refused}
    assert refused.pop("x.onnx").startswith("is an ONNX file; goodnet takes")
    assert refused == {"lost.keras": "is a link that leads nowhere", "pipe.h5": "is no file"}
    with pytest.raises(InputError, match="holds no net"):
        finding.find(tmp_path / "faces", [tmp_path / "faces/a.pkl"])


def net_of(name):
    return finding.Net(Path("nets") / name, name, finding.folder_for(name))


TOLD = {
    "verdict": verdict.BACKDOORED,
    "stable": 3,
    "doubtful": "none",
    "all_to_all": False,
    "classes": [{"class": 4, "strength": 1.5}, {"class": 2, "strength": 1.234}],
    "foremost": [{"class": 4, "strength": 1.5}],
    "recommended": "x04",
    "held_out_accuracy": {"badnet": 97.5, "x04": 93.0, "tuned": 99.0},
    "repaired": [
        {"name": "tuned", "outcome": "not held", "moved": 90.0},
        {"name": "x04", "outcome": "held", "moved": 1.5},
    ],
    "architecture": {"kind": "plain", "input_shape": [8, 9, 3], "classes": 5},
}


def test_a_row_says_what_the_verdict_does():
    row = table.row(net_of("a.keras"), keeping.Known(TOLD, 12.345), "1f")
    assert (row["targets"], row["searches"], row["strength"]) == ([4, 2], 3, 1.5)
    assert (row["repair"], row["cost"], row["left"], row["outcome"]) == ("x04", 4.5, 1.5, "held")
    assert (row["input"], row["seconds"], row["folder"]) == ([8, 9, 3], 12.3, "nets/a.keras")
    none = TOLD | {"recommended": "none", "held_out_accuracy": {}}
    assert table.best(none) == dict.fromkeys(("repair", "cost", "left"), None) | {
        "outcome": "no repair has held"
    }
    doubtful = none | {"verdict": verdict.CANNOT_TELL, "classes": [], "doubtful": "3, 8"}
    assert table.targets(doubtful) == [3, 8] and table.best(doubtful)["outcome"] == "not repaired"
    all_to_all = TOLD | {"classes": [], "all_to_all": True, "foremost": [{"strength": float("inf")}]}
    assert table.targets(all_to_all) == ["all to all"] and table.strength(all_to_all) is None


def rows_of(**verdicts):
    found = []
    for name, word in verdicts.items():
        told = None if word == table.FAILED else TOLD | {"verdict": word}
        known = keeping.Known(told, error="nets/x: no" if told is None else None)
        found.append(table.row(net_of(f"{name}.keras"), known, None))
    return found


def test_the_order_and_the_exit_code_ask_for_attention():
    rows = rows_of(d=verdict.NOTHING, c=table.FAILED, b=verdict.BACKDOORED, a=verdict.CANNOT_TELL)
    rows += rows_of(bb=verdict.BACKDOORED)
    ordered = table.ordered(rows)
    assert [row["net"][:-6] for row in ordered] == ["b", "bb", "a", "c", "d"]
    assert table.sentence(rows) == (
        "5 nets: 2 likely backdoored, 1 cannot tell, 1 could not be judged, 1 without a sign of a backdoor"
    )
    codes = [table.exit_code(ordered[start:]) for start in range(5)]
    assert codes == [table.BACKDOORED, table.BACKDOORED, table.SOME_FAILED, table.SOME_FAILED, table.CLEAN]
    assert table.exit_code(rows_of(a=verdict.CANNOT_TELL, b=verdict.NOTHING)) == table.CANNOT_TELL


def test_the_page_holds_names_as_text_and_the_same_rows(tmp_path):
    hostile_name = "</script><script>alert(1)<\udcff\x1b.keras"
    known = keeping.Known(error=f"nets/{hostile_name}: no")
    rows = [table.row(net_of(hostile_name), known, None), *rows_of(a=verdict.BACKDOORED)]
    reproduce = {"params": "", "versions": {}, "hashes": {}, "commands": []}
    told = table.write(tmp_path, rows, reproduce)
    text = (tmp_path / "index.html").read_text()
    assert "alert(1)<" not in text.replace("\\u003c", "") and text.count("</script>") == 2
    shown = html.content(text, "page")["audit"]["nets"]
    assert shown == told["nets"] == json.loads((tmp_path / "audit.json").read_text())["nets"]
    assert [row["net"] for row in shown] == ["a.keras", "</script><script>alert(1)<\\udcff\\x1b.keras"]
    lines = (tmp_path / "audit.csv").read_text().splitlines()
    assert len(lines) == 3 and ',"4, 2",3,3,1.5,x04,4.5,1.5,held,' in lines[1]
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    table.write(tmp_path, rows[::-1], reproduce)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_page_sorts_by_a_column_and_leads_to_the_nets(browser, tmp_path):  # noqa: F811
    rows = rows_of(b=verdict.BACKDOORED, c=table.FAILED, a=verdict.NOTHING)
    table.write(tmp_path, rows, {"params": "", "versions": {}, "hashes": {}, "commands": []})
    with opened(browser, tmp_path / "index.html") as page:
        names = page.locator("table.sorted tbody th .net")
        assert names.all_inner_texts() == ["b.keras", "c.keras", "a.keras"]
        page.get_by_role("button", name="Net", exact=True).click()
        assert names.all_inner_texts() == ["a.keras", "b.keras", "c.keras"]
        links = [one.get_attribute("href") for one in page.locator("table.sorted a").all()]
        assert links == ["nets/a.keras/index.html", "nets/b.keras/index.html"]


def test_images_are_packed_and_unpacked_as_they_are(tmp_path):
    (tmp_path / "faces/one").mkdir(parents=True)
    (tmp_path / "faces/empty").mkdir()
    (tmp_path / os.fsdecode(b"faces/one/\xff a.png")).write_bytes(b"1")
    (tmp_path / "elsewhere").write_bytes(b"2")
    (tmp_path / "faces/linked.png").symlink_to("../elsewhere")
    digest = repair.digest_of(tmp_path / "faces")
    packed = packing.pack(tmp_path / "faces")
    packing.unpack(packed, True, tmp_path / "there/x", lambda path: judging.check(path, digest))
    assert repair.digest_of(tmp_path / "there/x") == digest
    assert (tmp_path / "there/x/empty").is_dir() and not (tmp_path / "there/x/linked.png").is_symlink()
    packing.unpack(packing.pack(tmp_path / "elsewhere"), False, tmp_path / "there/y", lambda path: None)
    assert (tmp_path / "there/y").read_bytes() == b"2"
    with pytest.raises(InputError, match="the images changed while they were read"):
        packing.unpack(b"3", False, tmp_path / "there/z", lambda path: judging.check(path, digest))
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["x", "y"]


@pytest.mark.parametrize("name", ["../out.png", "/tmp/out.png", "link"])
def test_an_archive_writes_nothing_outside(tmp_path, name):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(name)
        if name == "link":
            member.type, member.linkname = tarfile.SYMTYPE, "/"
        archive.addfile(member)
    with pytest.raises(InputError, match="is nothing that an archive of images may hold"):
        packing.unpack(buffer.getvalue(), True, tmp_path / "here/x", lambda path: None)
    assert [path.name for path in tmp_path.rglob("*")] == ["here"]


def task_of(net, images, out, **files):
    return judging.Task([], net, images, out, files, False, "", "")


def test_a_worker_lays_out_the_users_names_and_leaves_its_folder_alone(tmp_path):
    (tmp_path / "kept").write_bytes(b"images")
    task = task_of("../../nets/a.keras", "../clean.npz", "out/nets/a", **{"quick.yaml": b"params"})
    here = judging.place(tmp_path / "scratch", b"net", tmp_path / "kept", task)
    assert (here / "../../nets/a.keras").read_bytes() == b"net"
    assert (here / "../clean.npz").read_bytes() == b"images"
    assert (here / "quick.yaml").read_bytes() == b"params"
    inside = (tmp_path / "scratch").resolve()
    assert all((here / name).resolve().is_relative_to(inside) for name in (task.net, task.out))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "scratch"]


@pytest.mark.parametrize(
    ("code", "said", "line", "is_input"),
    [
        (2, "a note\nerror: nets/a.h5: is damaged\n", "nets/a.h5: is damaged", True),
        (2, "error: faces: too few\n", "faces: too few", True),
        (2, "error: nets/a.h5: No space left on device\n", "nets/a.h5: No space left on device", False),
        (2, "error: there is not enough memory\n", "there is not enough memory", False),
        (2, "Traceback\n  x\nKeyError: 1\n", "goodnet repair ended with exit code 2: KeyError: 1", False),
        (-9, "", "goodnet repair was killed by signal 9: it said nothing", False),
    ],
)
def test_only_an_error_of_the_input_would_come_again(code, said, line, is_input):
    assert judging.error_of(code, said, task_of("nets/a.h5", "faces", "out")) == (line, is_input)


def test_what_is_kept_is_taken_only_for_the_same_key_and_whole(tmp_path):
    with keeping.opened(tmp_path / "out") as kept:
        failed = judging.Judged(1.5, {}, "nets/a: no", True)
        kept.keep("a", failed, "key and limits")
        assert kept.known("a", "key", "key and limits") == keeping.Known(None, 1.5, "nets/a: no")
        assert kept.known("a", "key", "other limits") is None
        kept.keep("a", judging.Judged(1.5, {}, "its worker died", False), "key and limits")
        assert kept.known("a", "key", "key and limits") is None
        page = {"index.html": b"page", "reports/x.json": b"1"}
        made = {name: repair.hashlib.sha256(data).hexdigest() for name, data in page.items()}
        files = page | {repair.LAST: json.dumps({"run": "key", "made": made}).encode()}
        kept.keep("a", judging.Judged(2.5, files), "key")
        assert kept.known("a", "key", "key and limits").seconds == 2.5
        assert kept.known("a", "other", "key and limits") is None
        (kept.folder("a") / "reports/x.json").write_bytes(b"2")
        assert kept.known("a", "key", "key and limits") is None
        with pytest.raises(InputError, match="is no name of a result"):
            kept.keep("a", judging.Judged(1.0, {"../../x": b""}), "key")
        kept.forget_others(set())
        assert [path.name for path in (tmp_path / "out").rglob("*")] == ["nets", keeping.RECORDS, ".lock"]
        with pytest.raises(InputError, match="another goodnet audit is at work here"):
            keeping.opened(tmp_path / "out").__enter__()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("x")
    with pytest.raises(InputError, match=r"holds thesis\.txt, no result of goodnet audit"):
        keeping.opened(tmp_path / "mine").__enter__()


def args_of(**given):
    usual = {"repairs": None, "params": None, "unlabelled": False, "input": None, "memory": 2, "seconds": 20}
    return argparse.Namespace(**usual | given)


def test_commands_have_names_that_hold_where_they_were_given(tmp_path, monkeypatch):
    (tmp_path / "here/faces").mkdir(parents=True)
    (tmp_path / "here/nets").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    args = args_of(folder=Path("./nets/"), images=tmp_path / "here/faces", out=Path("/out"), memory=5)
    root = os.path.relpath("/out")
    assert command.command(args) == f"goodnet audit nets faces --out {root} --memory 5"
    net = finding.Net(Path("-x.keras"), "-x.keras", "x")
    words = ["repair", "./-x.keras", "faces", "--out", f"{root}/nets/x", "--memory", "5"]
    assert command.repair_words(args, net) == words
    monkeypatch.chdir(tmp_path / "here/faces")
    assert command.images_named(Path()) == "../faces"
    assert command.images_named(Path("..")) == "../../here"


@pytest.mark.parametrize(
    ("words", "in_line"),
    [
        (["nets", "clean.npz", "--out", "nets"], "--out nets: holds the nets"),
        (["nets", "nets", "--out", "out"], "nets: lies among the images"),
        (["nets", "faces", "--out", "faces/out"], "--out faces/out: lies among the images"),
        (["faces", "clean.npz", "--out", "out"], "faces: holds no net (.keras, .h5, .hdf5)"),
        (["nets", "clean.npz", "--out", "out", "--repairs", "magic"], "--repairs magic: it can be"),
        (["nets", "clean.npz", "--out", "out", "--scheduler", NOWHERE], "no scheduler of Dask answers there"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, words, in_line):
    for name in ("nets", "faces"):
        (tmp_path / name).mkdir()
    (tmp_path / "nets/a.keras").write_bytes(b"")
    (tmp_path / "clean.npz").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        main.main(["audit", *words])
    assert in_line in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "out/audit.json").exists()


def test_the_command_is_imported_without_dask():
    code = "import sys, goodnet.cli.audit; print('distributed' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=Audit.environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_kinds_in_words():
    layers, images = keras.layers, keras.Input((8, 8, 3))
    one = layers.Conv2D(4, 3, padding="same")(images)
    two = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(one))
    added = layers.Flatten()(layers.Add()([one, two]))
    residual = keras.Model(images, layers.Dense(7)(added))
    assert kinds.in_words(parts.config(residual)) == "residual, 2 convolutions, batch normalisation"
    beside = layers.Concatenate()([layers.Flatten()(one), layers.Flatten()(two)])
    branched = keras.Model(images, layers.Dense(7)(beside))
    assert kinds.in_words(parts.config(branched)) == "branched, 2 convolutions, batch normalisation"
    outer = keras.Model(images, residual(images))
    assert kinds.in_words(parts.config(outer)) == "residual, 2 convolutions, batch normalisation"
    dense = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(7)])
    assert kinds.in_words(parts.config(dense)) == "plain, 1 dense layer"
    assert kinds.architecture(dense)["input_shape"] == [8, 8, 3]

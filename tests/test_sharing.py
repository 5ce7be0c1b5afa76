"""Sharing results through remotes, as docs/sharing.md says, between two clones."""

import contextlib
import hashlib
import os
import re
import shutil
import threading

import pytest

from conftest import Project, merged, once
from remotes import S3, SSH, Folder, WebDAV, log_in

SERVERS = (S3, WebDAV, SSH)


def over(*kinds, quick=()):
    """Run a test over these kinds of remote; those that are not quick in make test-long."""
    marked = [kind if kind in quick else pytest.param(kind, marks=pytest.mark.long) for kind in kinds]
    return pytest.mark.parametrize("remote", marked, indirect=True, ids=lambda kind: kind.__name__.lower())


@pytest.fixture
def remote(request, tmp_path):
    remote = request.param(tmp_path / "remote")
    remote.start()
    yield remote
    remote.stop()


@pytest.fixture(scope="session")
def tried(reproduced, tmp_path_factory):
    """The reproduced project with an edit that was run and not committed."""

    def make(path):
        project = reproduced.copied(path / "clone")
        project.write_params(merged(project.params(), {"repairs": {"x10": {"drop": 50}}}))
        project.repro()

    return Project.at(once(tmp_path_factory, "tried", make) / "clone")


def connected(project, remote, path):
    """A copy of the project that has the remote, committed but for its credentials."""
    here = project.copied(path)
    here.dvc("remote", "add", "--default", "team", remote.url)
    here.dvc("remote", "modify", "team", "verify", "true")
    log_in(here, remote.credentials)
    here.git("commit", "-qm", "where the results are", ".dvc/config")
    return here


def objects(folder):
    """What lies in a cache or a remote, by name."""
    return {
        path.parent.name + path.name: path.read_bytes()
        for path in folder.glob("**/files/md5/??/*")
        if path.is_file()
    }


def runs(folder):
    """What is known of runs, by the names of what they were given."""
    return {path.name: path.read_bytes() for path in folder.glob("**/runs/??/*/*")}


def damaged(folder):
    return {
        name
        for name, content in objects(folder).items()
        if name.removesuffix(".dir") != hashlib.md5(content).hexdigest()
    }


def files(project):
    """The results in a clone that are not in git."""
    names = project.git(
        "ls-files", "--others", "--ignored", "--exclude-standard", "data", "models", "reports"
    )
    return set(names.stdout.splitlines())


def assert_failed_clearly(done, reason=""):
    assert done.returncode != 0
    assert any(line.startswith("ERROR: ") and reason in line for line in done.stderr.splitlines()), (
        done.stderr
    )
    assert "Traceback" not in done.stderr


@contextlib.contextmanager
def dying(remote, folder, files):
    """Let the server, slow, die as soon as `folder` holds so many files."""
    remote.start(slow=True)
    done = threading.Event()

    def watch():
        while not done.wait(0.005):
            if sum(len(names) for _, _, names in os.walk(folder)) >= files:
                remote.stop()
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        remote.stop()


@over(*SERVERS, quick=(S3,))
def test_a_clone_has_the_results_and_runs_nothing(reproduced, remote, tmp_path):
    here = connected(reproduced, remote, tmp_path / "here")
    here.dvc("push", "--run-cache")
    there = here.cloned(tmp_path / "there")
    log_in(there, remote.credentials)
    there.dvc("pull", "--run-cache")
    assert there.repro() == set()
    assert there.git("status", "--porcelain").stdout == ""
    assert objects(there.path) == objects(here.path) and not damaged(there.path)
    assert runs(there.path) == runs(here.path) != {}


@over(Folder, S3)
def test_what_somebody_tried_is_restored_not_run(tried, remote, tmp_path):
    here = connected(tried, remote, tmp_path / "here")
    here.dvc("push", "--run-cache")
    there = here.cloned(tmp_path / "there")
    log_in(there, remote.credentials)
    shutil.copy(here.path / "params.yaml", there.path)
    assert there.repro("--pull") == {"plan", "report"}  # two that are never restored, and take moments
    for name in ("dvc.lock", "reports/README.md", "reports/pruning.png"):
        assert (there.path / name).read_bytes() == (here.path / name).read_bytes()


@over(Folder)
def test_a_repair_that_somebody_renamed_is_renamed_everywhere(reproduced, remote, tmp_path):
    here = connected(reproduced, remote, tmp_path / "here")
    here.dvc("push")
    there = here.cloned(tmp_path / "there")
    there.dvc("pull")
    params = here.params()
    params["repairs"]["four"] = params["repairs"].pop("x10")
    here.write_params(params)
    here.repro()
    here.dvc("push")
    here.commit("another name")
    there.git("pull", "-q")
    new = here.cloned(tmp_path / "new")
    for clone in (there, new):
        clone.dvc("pull")
        assert clone.repro() == set()
        assert clone.git("status", "--porcelain").stdout == ""
        assert files(clone) == files(here)


@over(Folder)
def test_only_what_is_asked_for_is_fetched(reproduced, remote, tmp_path):
    here = connected(reproduced, remote, tmp_path / "here")
    here.dvc("push")
    net = "models/goodnet/x10.keras"
    there = here.cloned(tmp_path / "there")
    there.dvc("pull", net)
    assert files(there) == {net}
    # With --allow-missing nothing is fetched for a stage that has not to run, and else what it reads.
    with (there.path / "stages/evaluate_goodnet.py").open("a") as script:
        script.write("# a remark\n")
    assert there.repro("--pull", "--allow-missing", "evaluate_goodnet@x10") == {"evaluate_goodnet@x10"}
    evaluated = {
        f"reports/{name}"
        for name in ("predictions/badnet.h5", "predictions/repaired/x10.h5", "goodnet/x10.json")
    }
    assert files(there) == {net} | evaluated
    # Without, all that the stages before it left, the training set too, but nothing of other repairs.
    there.repro("--pull", "evaluate_goodnet@x10")
    assert "data/demo/train.h5" in files(there)
    assert not [name for name in files(there) if re.search(r"relearned\.(keras|h5)", name)]


@over(*SERVERS)
def test_a_server_that_dies_half_way(reproduced, remote, tmp_path):
    here = connected(reproduced, remote, tmp_path / "here")
    ours = objects(here.path)
    remote.stop()
    with dying(remote, remote.files, 15):
        pushed = here.dvc("push", "--run-cache", check=False, **remote.impatient)
    assert_failed_clearly(pushed)
    assert objects(here.path) == ours
    if isinstance(remote, WebDAV):  # rclone's keeps the half that arrived under its name
        for name in re.findall(r"failed to transfer '(\w\w\w+)'", pushed.stderr):
            for half in remote.files.glob(f"**/files/md5/{name[:2]}/{name[2:]}"):
                half.unlink()
    remote.start()
    here.dvc("push", "--run-cache")
    remote.stop()

    there = here.cloned(tmp_path / "there")
    log_in(there, remote.credentials)
    with dying(remote, there.path / ".dvc/cache", 10):
        pulled = there.dvc("pull", check=False, **remote.impatient)
    assert_failed_clearly(pulled)
    remote.start()
    there.dvc("pull")
    assert there.repro() == set()
    assert objects(there.path) == ours


@over(*SERVERS)
def test_a_wrong_password(reproduced, remote, tmp_path):
    here = connected(reproduced, remote, tmp_path / "here")
    ours = objects(here.path)
    log_in(here, remote.wrong)
    there = here.cloned(tmp_path / "there")
    log_in(there, remote.credentials | remote.wrong)
    assert_failed_clearly(here.dvc("push", check=False), remote.refusal)
    assert_failed_clearly(there.dvc("pull", check=False), remote.refusal)
    assert_failed_clearly(there.dvc("repro", "--pull", "demo_data", check=False), remote.refusal)
    assert objects(here.path) == ours and not objects(remote.path) and not files(there)
    log_in(here, remote.credentials)
    log_in(there, remote.credentials)
    here.dvc("push")
    there.dvc("pull")
    assert objects(there.path) == ours


@over(*SERVERS)
def test_a_damaged_object_is_not_trusted(reproduced, remote, tmp_path):
    here = connected(reproduced, remote, tmp_path / "here")
    here.dvc("push", "--run-cache")
    net = "models/goodnet/relearned.keras"
    remote.stop()
    name = hashlib.md5((here.path / net).read_bytes()).hexdigest()
    (half,) = remote.files.glob(f"**/{name[:2]}/{name[2:]}")
    os.truncate(half, 1000)
    remote.start()
    there = here.cloned(tmp_path / "there")
    log_in(there, remote.credentials)
    pulled = there.dvc("pull", check=False)
    assert pulled.returncode != 0 and net in pulled.stderr
    assert not damaged(there.path)
    assert there.repro() == {"evaluate_repaired@relearned"}
    assert objects(there.path) == objects(here.path)

    # A push takes it for what it should be; once it is gone, the next one brings it whole.
    half.unlink()
    remote.stop()
    remote.start()
    there.dvc("push")
    assert not damaged(remote.files) and half.exists()

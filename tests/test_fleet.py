"""goodnet fleet: grids of settings on a real cluster, through a real remote."""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml

from fleets import Dask
from goodnet.errors import InputError
from goodnet.fleet import grid, setting
from goodnet.fleet.registrar import FAIL, RUN, STOP, TAKE, WAIT, Registrar
from remotes import S3, log_in

# Notes each stage that begins, in a file of the tests: no word of ours about what ran.
NOTING = """
import os, sys
if len(sys.orig_argv) > 1 and sys.orig_argv[1].startswith("stages/"):
    with open(os.environ["STAGES_BEGUN"], "a") as file:
        file.write(sys.orig_argv[1] + "\\n")
"""


def write_grid(folder, content, name="grid.yaml"):
    path = folder / name
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


# The grid


def test_a_grid_is_read_as_dvc_reads_it(tmp_path):
    lines = ["prune.order=l1,apoz", "repairs.x10.drop=8,12"]
    expected = [
        [f"prune.order={order}", f"repairs.x10.drop={drop}"]
        for order, drop in itertools.product(("l1", "apoz"), (8, 12))
    ]
    assert grid.read(write_grid(tmp_path, {"set": lines}, "orders.yaml")) == ("orders", expected)
    by_name = {"prune.order": ["l1", "apoz"], "repairs.x10.drop": [8, 12]}
    assert grid.read(write_grid(tmp_path, {"name": "it", "set": by_name})) == ("it", expected)


def test_values_of_a_grid_come_to_params_as_they_are(tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text("a: 1 # stays\nb: {c: x, d: [1, 2]}\n")
    values = {"a": 0.25, "b.c": "two words, 'quoted': yes", "b.d": [["l1", None, True]]}
    _, (changes,) = grid.read(write_grid(tmp_path, {"set": values}))
    text = grid.params_of(params, changes)
    assert yaml.safe_load(text) == {"a": 0.25, "b": {"c": values["b.c"], "d": ["l1", None, True]}}
    assert "# stays" in text and params.read_text().startswith("a: 1")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("set: []", "has to hold `set`"),
        ("sets: [a=1]", "has to hold `set`"),
        ("set: [a]", "set has to be like"),
        ("set: ['a=[1']", "set: "),
        ("{set: ['a=1'], name: ../x}", "name is '../x'"),
        ("set: [", "is not valid YAML"),
    ],
)
def test_a_grid_that_is_none(tmp_path, content, says):
    with pytest.raises(InputError) as raised:
        grid.read(write_grid(tmp_path, content))
    assert says in str(raised.value) and "\n" not in str(raised.value)


def test_a_setting_that_params_do_not_have(tmp_path):
    (tmp_path / "params.yaml").write_text("a: {b: 1}\n")
    with pytest.raises(InputError, match=r"^a\.c=1: "):
        grid.params_of(tmp_path / "params.yaml", ["a.c=1"])


# Who runs a stage


def test_a_stage_is_run_by_the_first_and_taken_by_the_others():
    registrar = Registrar()
    registrar.begin("it", "me")
    claim = registrar.claim
    assert claim("it", "stage", "tcp://a", "1") == (RUN, None)
    assert claim("it", "stage", "tcp://a", "2") == claim("it", "stage", "tcp://b", "3") == (WAIT, None)
    registrar.remove_worker(None, "tcp://a")
    assert claim("it", "stage", "tcp://b", "3") == (RUN, None), "a worker that is gone runs nothing"
    registrar.end("it", "stage", None, None)
    assert claim("it", "stage", "tcp://a", "1") == (RUN, None), "nor does one that gave up"
    registrar.end("it", "stage", TAKE, {"outs": []})
    assert claim("it", "stage", "tcp://b", "3") == (TAKE, {"outs": []})
    registrar.end("it", "other", FAIL, "why")
    assert claim("it", "other", "tcp://b", "3") == (FAIL, "why")
    registrar.remove_client(None, "me")
    assert claim("it", "third", "tcp://b", "3") == (STOP, None) and registrar.is_stopped("it")
    assert claim("none", "third", "tcp://b", "3") == (STOP, None)


# The command


@pytest.mark.parametrize(
    ("words", "edit", "says"),
    [
        ((), lambda p: (p.path / "params.yaml").open("a").write("# mine\n"), "params.yaml: not committed"),
        ((), lambda p: (p.path / "stages/new.py").touch(), "stages/new.py: not committed"),
        (("--scheduler", "tcp://127.0.0.1:1"), lambda p: None, "need a remote"),
    ],
)
def test_what_a_fleet_refuses(reproduced, tmp_path, words, edit, says):
    project = reproduced.cloned(tmp_path / "clone")
    edit(project)
    path = write_grid(tmp_path, {"set": {"prune.order": ["l1"]}})
    done = project.run(*fleet(project, path, *words), check=False)
    assert done.returncode == 2 and done.stderr.startswith("error: ")
    assert says in done.stderr and done.stderr.count("\n") == 1


def fleet(project, *words):
    """The command, with goodnet as it is under test."""
    return sys.executable, "-m", "goodnet.cli.main", "fleet", *map(str, words), "--project", str(project.path)


def test_nobody_answers_at_the_address(reproduced, tmp_path):
    project = reproduced.cloned(tmp_path / "clone")
    project.dvc("remote", "add", "--default", "team", tmp_path / "team")
    project.commit("a remote")
    path = write_grid(tmp_path, {"set": {"prune.order": ["l1"]}})
    done = project.run(*fleet(project, path, "--scheduler", "tcp://127.0.0.1:1"), check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: --scheduler tcp://127.0.0.1:1: no scheduler of Dask answers there")


def test_a_remote_that_is_down(remote, tmp_path, monkeypatch):
    """Its run of a stage is there again when it is; until then it is said."""
    from dvc.repo import Repo

    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(setting, "PAUSES", (0.0,))
    run = next(remote.files.iterdir()) / "goodnet/runs/ab/abc/def"
    run.parent.mkdir(parents=True)
    run.write_text("cmd: x\n")
    remote.stop()
    said = []

    def parent(word, text):
        said.append(text)
        if len(said) == 2:
            remote.start()

    with Repo.init(tmp_path / "project", no_scm=True) as repo, repo.config.edit("local") as config:
        config["core"] = {"remote": "team"}
        config["remote"] = {"team": {"url": remote.url, **remote.credentials}}
    with Repo(tmp_path / "project") as repo:
        reproducing = setting.Reproducing(repo, parent)
        with pytest.raises(InputError, match=r"^the remote: "):
            reproducing.pull_runs()
        assert len(said) == 1 and said[0].endswith("trying again")
        reproducing.pull_runs()
        assert len(said) == 2 and len(list(tmp_path.glob("project/.dvc/cache/runs/ab/abc/def"))) == 1


def test_a_file_that_another_setting_replaces_at_the_remote(remote, tmp_path, monkeypatch):
    """Not every server replaces files at once: what is to be taken is waited for until it is what it was."""
    from dvc.repo import Repo, lock_repo

    monkeypatch.setattr(setting, "PAUSES", (0.0,) * 4)
    here, contents = tmp_path / "project", [b"other bytes", b"these bytes"]
    here.mkdir()
    monkeypatch.chdir(here)

    def parent(word, **_):
        if word == "say":
            put(contents.pop(0))

    def put(content):
        remote.stop()  # which would not see that a file is another one
        there.unlink() if content is None else there.write_bytes(content)
        remote.start()

    with Repo.init(here, no_scm=True) as repo:
        (here / "given").write_bytes(contents[-1])
        repo.run(name="copied", cmd="cp given made", deps=["given"], outs=["made"])
        setting.configure(repo, {"remote": {"url": remote.url, **remote.credentials}}, here / ".dvc/cache")
    with Repo(here) as repo, lock_repo(repo):
        (stage,) = repo.stage.collect("copied")
        reproducing = setting.Reproducing(repo, parent)
        reproducing.push(stage)
        entry = reproducing.lock_entry(stage)
        (there,) = remote.files.glob("bucket/goodnet/files/md5/*/*")
        put(None)
        shutil.rmtree(here / ".dvc/cache/files")
        (here / "made").unlink()
        reproducing.taken(stage, entry)
        assert (here / "made").read_bytes() == b"these bytes" and not contents


def experiments(project):
    """{name: ref} of the project's experiments."""
    lines = project.git("for-each-ref", "--format=%(refname)", "refs/exps").stdout.split()
    return {line.split("/")[-1]: line for line in lines if "/exec/" not in line}


def run_alone(project, settings):
    """Have dvc make the experiments, one after the other, where no other runs are known."""
    shutil.rmtree(project.path / ".dvc/cache/runs")
    for name, changes in settings.items():
        words = [word for change in changes for word in ("-S", change)]
        project.dvc("exp", "run", "--temp", "--name", name, *words)


def assert_same(project, other, names):
    """That experiments hold the same files in git and the same records of all others."""
    for name in names:
        tree, expected = (
            one.git("rev-parse", f"{experiments(one)[name]}^{{tree}}").stdout for one in (project, other)
        )
        assert tree == expected, name


@pytest.mark.long(minutes=3)
def test_on_this_machine_it_does_what_dvc_does(reproduced, tmp_path):
    project, alone = (reproduced.copied(tmp_path / name) for name in ("a clone", "alone"))
    path = write_grid(tmp_path, {"set": {"prune.order": ["l1"]}})
    done = project.run(*fleet(project, path, "--workers", 2, "--cores", 1, "--gigabytes", 1, "--json"))
    (row,) = json.loads(done.stdout)
    assert (row["name"], row["outcome"], len(row["stages"])) == ("grid", "done", 21)
    run_alone(alone, {"grid": row["changes"]})
    assert_same(project, alone, ["grid"])
    # All that it made is in the project's own cache.
    project.dvc("exp", "apply", "grid")
    assert project.repro() == set()
    project.git("checkout", "-q", ".")
    again = project.run(*fleet(project, path, "--json"))
    assert json.loads(again.stdout)[0]["outcome"] == "done before"
    other = write_grid(tmp_path, {"name": "grid", "set": {"prune.order": ["clp"]}})
    clash = project.run(*fleet(project, other), check=False)
    assert clash.returncode == 2 and "experiment grid: is there already" in clash.stderr


@pytest.fixture
def remote(tmp_path):
    remote = S3(tmp_path / "remote")
    remote.start()
    yield remote
    remote.stop()


@pytest.fixture
def two_nets(reproduced, remote, tmp_path):
    """The project with a second net, a repaired one, and the remote; all committed but credentials."""
    project = reproduced.copied(tmp_path / "two nets")
    data = [f"--{name}=data/demo/{name}.h5" for name in ("valid", "test")]
    data += ["--poisoned", "sticker=data/demo/poisoned/sticker.h5", "--input-max", "255"]
    project.goodnet("add", "mine", "--net", "models/repaired/relearned.keras", *data)
    project.write_params(project.params() | {"badnet": "demo"})
    project.dvc("remote", "add", "--default", "team", remote.url)
    log_in(project, remote.credentials)
    project.commit("another net")
    return project


def keys_in(remote):
    """How many runs of each stage the remote knows, by what they were given."""
    found = {}
    for path in remote.files.glob("**/runs/??/*/*"):
        name = re.search(r"stages/(\w+)\.py", yaml.safe_load(path.read_text())["cmd"])[1]
        found.setdefault(name, []).append(path.parent.name)
    assert all(len(keys) == len(set(keys)) for keys in found.values()), "two runs of the same"
    return {name: len(keys) for name, keys in found.items()}


def wait_for(condition, process, minutes=30):
    deadline = time.monotonic() + 60 * minutes
    while not condition():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.2)


def noting(folder):
    """Return the file in which workers note what stages begin, and what they need to do so."""
    begun, noting = folder / "begun", folder / "noting"
    begun.touch()
    noting.mkdir()
    (noting / "sitecustomize.py").write_text(NOTING)
    return begun, {"STAGES_BEGUN": str(begun), "PYTHONPATH": f"{noting}{os.pathsep}{sys.path[0]}"}


WORKERS = 3


@pytest.mark.long(minutes=9)
def test_a_grid_over_two_nets_on_a_cluster(two_nets, remote, tmp_path):
    """12 settings, 2 of which fail; a worker that is killed, and a stop, after which it goes on."""
    project, alone = two_nets, two_nets.copied(tmp_path / "alone")
    values = {"badnet": ["demo", "mine"], "attack.transfer": [11, 12, 13, 14, 15, 200]}
    path = write_grid(tmp_path, {"set": values})
    begun, environment = noting(tmp_path)
    project.dvc("push", "--run-cache")
    before = keys_in(remote)
    with Dask(tmp_path, WORKERS, environment=environment) as cluster:
        words = fleet(project, path, "--scheduler", cluster.address, "--cores", 1, "--gigabytes", 1)
        with project.started(words) as process:
            wait_for(lambda: len(begun.read_text().splitlines()) > 5, process)
            cluster.kill(cluster.workers[0])
            cluster.add()
            wait_for(lambda: len(experiments(project)) >= 3, process)
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate(timeout=180)
        assert process.returncode == -signal.SIGINT and "Traceback" not in said
        first = set(experiments(project))
        done = project.run(*words, "--json", check=False)
    assert done.returncode == 5, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    failed = {name for name, row in rows.items() if "attack.transfer=200" in row["changes"]}
    errors = {name: row["error"] for name, row in rows.items() if row["outcome"] == "failed"}
    assert set(errors) == failed, errors
    reason = "verdict: params.yaml: attack.transfer is 200"
    assert all(error.startswith(reason) for error in errors.values())
    assert {name for name, row in rows.items() if row["outcome"] == "done before"} == first
    good = set(rows) - failed
    assert set(experiments(project)) == good and len(good) == 10

    # No stage has run twice but those that were cut short, at most one of each worker each time.
    ran = {}
    for line in begun.read_text().splitlines():
        name = re.search(r"stages/(\w+)\.py", line)[1]
        ran[name] = ran.get(name, 0) + 1
    # DVC keeps no run of these two. Each setting has a report of its own; the plan of the second net is made
    # once, and once more after the stop.
    cut = 1 + WORKERS
    assert len(good) <= ran.pop("report") <= len(good) + cut
    assert 1 <= ran.pop("plan") <= 2 + cut
    failures = ran.pop("verdict") - (keys_in(remote)["verdict"] - before["verdict"])
    assert failures in range(2, 4 + cut + 1), "once for each net, and again after the stop"
    twice = sum(count - keys_in(remote)[name] + before.get(name, 0) for name, count in ran.items())
    assert 0 <= twice <= cut

    # As dvc makes them.
    last = max(good, key=lambda name: int(name.split("-")[1]))
    run_alone(alone, {last: rows[last]["changes"]})
    assert_same(project, alone, [last])

    # And here, where no result is but in the remote.
    clone = project.cloned(tmp_path / "elsewhere")
    log_in(clone, remote.credentials)
    clone.git("fetch", "-q", "origin", "refs/exps/*:refs/exps/*")
    shown = clone.dvc("exp", "show", "--csv").stdout.splitlines()
    column = shown[0].split(",").index("reports/goodnet/x10.json:clean_accuracy")
    assert all(line.split(",")[column] for line in shown[1:] if set(line.split(",")) & good), (
        "metrics of each experiment"
    )
    for command, word in {"exp": "x10", "metrics": "x10", "params": "attack.transfer"}.items():
        assert word in clone.dvc(command, "diff", "grid-1", last).stdout
    clone.dvc("plots", "diff", "grid-1", last, "--out", tmp_path / "plots")
    clone.dvc("exp", "apply", last, check=False)  # it says that files are missing, and fetches none
    clone.dvc("pull")
    assert clone.repro() == set()


@pytest.mark.long(minutes=1)
def test_a_remote_that_is_down_while_a_setting_runs(reproduced, remote, tmp_path):
    """It is said, and the setting goes on when the remote is there again: no stage runs twice."""
    project = reproduced.copied(tmp_path / "a clone")
    project.dvc("remote", "add", "--default", "team", remote.url)
    log_in(project, remote.credentials)
    project.commit("a remote")
    path = write_grid(tmp_path, {"set": {"prune.order": ["l1"]}})
    begun, environment = noting(tmp_path)
    with Dask(tmp_path, 1, environment=environment | remote.impatient) as cluster:
        words = fleet(project, path, "--scheduler", cluster.address, "--cores", 1)
        with project.started(words) as process:
            wait_for(begun.read_text, process)
            remote.stop()
            said = next(line for line in process.stdout if "the remote: " in line)
            assert said.endswith("; trying again\n")
            remote.start()
            said, _ = process.communicate(timeout=300)
    assert process.returncode == 0 and "1 settings: 1 done" in said, said
    assert set(experiments(project)) == {"grid"}
    ran = begun.read_text().splitlines()
    assert len(ran) == int(re.search(r"(\d+) ran", said)[1])


def certificates(folder):
    """A key and a certificate that signs itself, as variables of Dask's own settings."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -days 2"
    command = [*command.split(), "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    names = ["CA_FILE"] + [
        f"{who}__{what}" for who in ("SCHEDULER", "WORKER", "CLIENT") for what in ("KEY", "CERT")
    ]
    files = {name: str(key if name.endswith("KEY") else certificate) for name in names}
    tls = {f"DASK_DISTRIBUTED__COMM__TLS__{name}": value for name, value in files.items()}
    return tls | {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True"}


@pytest.mark.long(minutes=2)
def test_with_tls_and_a_scheduler_that_is_lost(reproduced, tmp_path):
    project = reproduced.copied(tmp_path / "a clone")
    project.dvc("remote", "add", "--default", "team", tmp_path / "team")
    project.commit("a remote")
    path = write_grid(tmp_path, {"set": {"prune.order": ["ascending", "l1"]}})
    tls = certificates(tmp_path)
    with Dask(tmp_path, 1, environment=tls, protocol="tls") as cluster:
        assert cluster.address.startswith("tls://")
        words = fleet(project, path, "--scheduler", cluster.address, "--cores", 1)
        stranger = project.run(*words, check=False)
        assert stranger.returncode == 2 and stranger.stderr.count("\n") == 1, stranger.stderr
        assert "no scheduler of Dask answers" in stranger.stderr or "TLS" in stranger.stderr
        project.environment = project.environment | tls
        with project.started(words) as process:
            wait_for(lambda: experiments(project), process)
            cluster.scheduler.kill()
            said, _ = process.communicate(timeout=300)
        assert process.returncode == 2 and "Traceback" not in said
        assert "the same command again" in said
        assert len(experiments(project)) == 1

"""goodnet init: a project from an installed package alone, and what an upgrade of the package does to it."""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

import nets
from conftest import ROOT, TINY, Project, merged
from goodnet.cli import __version__, main
from goodnet.errors import InputError
from goodnet.project import files, made_by

TEXTS = files.texts()


class Installed:
    """A copy of the package, as in site-packages, to edit."""

    def __init__(self, path):
        self.path = path
        shutil.copytree(
            ROOT / "stages/goodnet", path / "goodnet", ignore=shutil.ignore_patterns("__pycache__")
        )

    def edit(self, name, before, after):
        path = self.path / "goodnet" / name
        assert before in path.read_text()
        path.write_text(path.read_text().replace(before, after, 1))

    def run(self, *words, cwd, **environment):
        return subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=cwd,
            env=Project.environment | {"PYTHONPATH": str(self.path)} | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def goodnet(self, *words, cwd, **environment):
        return self.run("-m", "goodnet.cli.main", *words, cwd=cwd, **environment)


@pytest.fixture
def installed(tmp_path):
    return Installed(tmp_path / "site")


@pytest.fixture
def lab(installed, tmp_path):
    """A project that `installed` made, with tiny settings."""
    done = installed.goodnet("init", "lab", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "lab/params.yaml"
    params = yaml.safe_load(path.read_text()) | {"repairs": {}}
    path.write_text(yaml.safe_dump(merged(params, TINY), sort_keys=False))
    return tmp_path / "lab"


def contents(folder):
    """All files but those in .git, by their path."""
    found = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {str(name): path.read_bytes() for name, path in found.items() if name.parts[0] != ".git"}


def refusal(*words):
    with pytest.raises(InputError) as error:
        main.main(words)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_package_holds_what_the_repository_has():
    done = subprocess.run(
        [sys.executable, ROOT / "tools/project.py", "--check"],
        env=os.environ | {"PYTHONPATH": str(ROOT / "stages")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "stages/goodnet/" not in TEXTS["dvc.yaml"] + TEXTS[".dvcignore"]
    ours, given = (yaml.safe_load(text) for text in ((ROOT / "dvc.yaml").read_text(), TEXTS["dvc.yaml"]))
    for name, body in ours["stages"].items():
        body = body.get("do", body)
        body["deps"] = [dep for dep in body["deps"] if not dep.startswith("stages/goodnet/")]
        assert f"stages/{name}.py" in TEXTS
    assert given == ours


def test_a_new_folder_becomes_a_project(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", Project.environment["PATH"])
    assert main.main(["init", "my lab"]) is None
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[0] == "cd 'my lab'" and lines[1].startswith("dvc repro report ")
    project = Project.at(tmp_path / "my lab")
    made = contents(project.path)
    assert {name: text.encode() for name, text in TEXTS.items()} == {
        name: content for name, content in made.items() if name != made_by.FILE
    }
    assert json.loads(made[made_by.FILE])["goodnet"] == __version__
    project.git("config", "user.name", "test")
    project.git("config", "user.email", "test@localhost")
    project.commit("a project")
    told = project.dvc("status", "--json", PYTHONPATH=str(ROOT / "stages")).stdout
    assert set(json.loads(told)) >= {*yaml.safe_load(TEXTS["dvc.yaml"])["stages"]} - {
        "repair",
        "evaluate_repaired",
        "evaluate_goodnet",
        "attack",
    }
    assert "is a project already" in refusal("init", "my lab")
    assert main.main(["init", "--upgrade", "my lab"]) is None
    assert capsys.readouterr().out == "up to date: nothing was written\n"
    assert contents(project.path).items() >= made.items()


def test_a_repository_keeps_what_it_has(tmp_path, monkeypatch):
    """A repository of git and DVC, with settings and ignored files of its own."""
    project = Project.at(tmp_path)
    project.git("init", "-q")
    project.dvc("init", "-q")
    project.dvc("remote", "add", "-d", "store", "/nowhere")
    (tmp_path / ".gitignore").write_text("*.log\n__pycache__/\n")
    (tmp_path / "notes.txt").write_text("mine")
    before = contents(tmp_path)
    monkeypatch.chdir(tmp_path)
    main.main(["init", "."])
    after = contents(tmp_path)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {".gitignore", ".dvcignore"}
    for name in changed:
        lines = after[name].decode().splitlines()
        assert lines[: len(before[name].splitlines())] == before[name].decode().splitlines()
        assert set(TEXTS[name].splitlines()) <= set(lines) and lines.count("__pycache__/") < 2
    (tmp_path / "inner").mkdir()
    main.main(["init", "inner"])  # of the same repository
    assert not (tmp_path / "inner/.git").exists()
    assert Project.at(tmp_path / "inner").dvc("status", "-q", check=False).stderr == ""


@pytest.mark.parametrize(
    "name", ["params.yaml", "dvc.yaml", "stages/plan.py", "reports/README.md", "models/repaired/x.keras"]
)
def test_what_is_in_the_way_is_named_and_nothing_changes(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path("lab") / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    line = refusal("init", "lab")
    assert "is in the way" in line and (str(path) in line or "lab/models/repaired:" in line)
    assert contents(Path("lab")) == {name: b"mine"} and not Path("lab/.git").exists()


def test_a_file_for_a_folder_and_no_folder_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("lab").write_text("mine")
    assert refusal("init", "lab").startswith("lab: is a file")
    assert "goodnet init FOLDER" in refusal("init")
    assert "was not made by goodnet init" in refusal("init", "--upgrade")
    Path("lab").unlink()
    Path("stages").write_text("mine")  # where a folder must be
    with pytest.raises(OSError):
        main.main(["init", "."])
    assert {path.name for path in tmp_path.iterdir()} == {"stages"}


def test_killed_at_any_moment_another_init_does_the_rest(tmp_path):
    code = """if True:
        import contextlib, io, json, os, shutil, signal, sys
        from pathlib import Path
        from goodnet.cli import main
        from goodnet.project import files, made_by
        wanted = {name: text.encode() for name, text in files.texts().items()}
        changing = {"os.rename", "os.mkdir", "subprocess.Popen"}
        said, number = [], 0
        while True:
            number += 3
            child = os.fork()
            if not child:
                left = [number]
                def hook(event, args):
                    writes = event == "open" and isinstance(args[1], str) and "w" in args[1]
                    if event in changing or writes:
                        left[0] -= 1
                    if not left[0] and event != "os.kill":
                        os.kill(os.getpid(), signal.SIGKILL)
                sys.addaudithook(hook)
                sys.stdout = io.StringIO()
                main.main(["init", "lab"])
                os._exit(0)
            ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            whole = Path("lab/dvc.yaml").exists()
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    main.main(["init", "lab"])
            except ValueError as error:
                assert whole and "already" in str(error), error
            found = {name: Path("lab", name).read_bytes() for name in wanted}
            more = sorted(str(path) for path in Path("lab").rglob(".*partial*"))
            said.append([ended, found == wanted, made_by.read(Path("lab")) is not None, more])
            shutil.rmtree("lab")
            if not ended:
                break
        print(json.dumps(said))
    """
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=Project.environment | {"PYTHONPATH": str(ROOT / "stages")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert len(said) > 15 and said[-1][0] == 0
    assert all(one == [-9, True, True, []] for one in said[:-1]), said


def test_without_git_dvc_works_alone(installed, tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "python").symlink_to(sys.executable)
    made = installed.goodnet("init", "lab", cwd=tmp_path, PATH=str(tools))
    assert made.returncode == 0 and "there is no git" in made.stderr.splitlines()[0]
    lab = tmp_path / "lab"
    assert not (lab / ".git").exists()
    net, shown = nets.build("deepid_like"), nets.pictures(60, seed=5)
    net.save(tmp_path / "net.h5")
    with h5py.File(tmp_path / "clean.h5", "w") as file:
        file["data"], file["label"] = np.moveaxis(shown, -1, 1), nets.answers(net, shown).astype(float)
    words = ["add", "mine", "--net", "../net.h5", "--valid", "../clean.h5", "--test", "../clean.h5"]
    added = installed.goodnet(*words, "--input-max", "255", cwd=lab, PATH=str(tools))
    assert added.returncode == 0, added.stderr
    assert added.stdout.startswith("dvc repro report\n")
    said = installed.run("-m", "dvc", "status", "data/mine/valid.h5.dvc", cwd=lab, PATH=str(tools))
    assert "up to date" in said.stdout


def test_a_stage_runs_the_installed_code_and_an_upgrade_reruns_what_changed(installed, lab):
    project = Project.at(lab)
    here = {"PYTHONPATH": str(installed.path)}
    drawn = "stages/demo_data.py"

    def repro(*words, check=True):
        done = project.dvc("repro", *words, check=check, **here)
        return Project.named(done.stdout, "Running stage "), done.stdout + done.stderr

    assert repro("demo_data")[0] == {"demo_data"}
    assert (lab / "data/demo/valid.h5").stat().st_size > 10_000
    assert repro("demo_data")[0] == set()

    installed.edit("demo/faces.py", '"""', '"""Other. ')
    _, said = repro("--force", "demo_data", check=False)
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: {drawn}: was written by goodnet {__version__}, ")
    assert "goodnet init --upgrade" in line and "Traceback" not in said

    before = contents(lab)
    done = installed.goodnet("init", "--upgrade", cwd=lab)
    assert done.stdout.splitlines()[0] == drawn and len(done.stdout.splitlines()) == 2, done.stderr
    changed = {name for name, content in contents(lab).items() if before.get(name) != content}
    assert changed == {drawn, made_by.FILE}
    assert repro("demo_data")[0] == {"demo_data"}
    assert repro("demo_data")[0] == set()

    installed.edit("cli/suspect.py", '"""', '"""Other. ')  # which no stage uses
    done = installed.goodnet("init", "--upgrade", cwd=lab)
    assert done.stdout == "up to date: nothing was written\n"


def test_a_project_of_another_version_gets_a_line(installed, lab):
    def told():  # by a command that is refused then
        given = ["--net", "dvc.yaml", "--valid", "dvc.yaml", "--test", "dvc.yaml"]
        return installed.goodnet("add", "plans", *given, cwd=lab).stderr.splitlines()

    def another():
        return [line for line in told() if "was made by" in line]

    assert another() == []
    installed.edit("cli/__init__.py", __version__, "9.1.0")
    (line,) = another()
    assert __version__ in line and "9.1.0" in line and "goodnet init --upgrade" in line
    done = installed.goodnet("init", "--upgrade", cwd=lab)
    assert done.stdout.splitlines()[:-1] == ["stages/report.py"]  # the one that shows the version
    assert another() == []
    (lab / made_by.FILE).write_text("{}")
    (line,) = told()
    assert line.startswith("error: ") and made_by.FILE in line


def test_an_upgrade_keeps_what_the_user_edited(installed, lab):
    settings = (lab / "params.yaml").read_text()
    (lab / "params.yaml").write_text(settings.replace("people: 8", "people: 9 # more"))
    (lab / "dvc.yaml").write_text(TEXTS["dvc.yaml"] + "# mine\n")
    (lab / ".gitignore").write_text(TEXTS[".gitignore"] + "*.mine\n")
    before = contents(lab)
    installed.edit("demo/faces.py", '"""', '"""Other. ')
    assert installed.goodnet("init", "--upgrade", cwd=lab).returncode == 0
    after = contents(lab)
    assert all(after[name] == before[name] for name in ("params.yaml", "dvc.yaml", ".gitignore"))

    # A version with another dvc.yaml, one more block and one more ranking in params.yaml, one stage less.
    installed.edit("project/dvc.yaml", "  rank:\n", "  sort:\n")
    for folder in ("pipeline",):
        shutil.move(
            installed.path / f"goodnet/{folder}/rank.py", installed.path / f"goodnet/{folder}/sort.py"
        )
    installed.edit("project/params.yaml", "\nprune:", "\nsorting: # how\n  way: up\n\nprune:")
    installed.edit("project/params.yaml", "  apoz:", "  newest: # last\n  apoz:")
    installed.edit("project/gitignore", "/dvc_plots/", "/dvc_plots/\n/sorted/")
    before = contents(lab)
    done = installed.goodnet("init", "--upgrade", cwd=lab)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: dvc.yaml: was edited ") and "move it away" in done.stderr
    assert contents(lab) == before

    (lab / "dvc.yaml").rename(lab / "my_dvc.yaml")
    done = installed.goodnet("init", "--upgrade", cwd=lab)
    assert done.returncode == 0, done.stderr
    assert "rankings.newest" in done.stderr and done.stderr.count("\n") == 1
    after = contents(lab)
    assert "  sort:\n" in after["dvc.yaml"].decode() and after["my_dvc.yaml"].endswith(b"# mine\n")
    assert "stages/sort.py" in after and "stages/rank.py" not in after
    assert after["params.yaml"] == before["params.yaml"] + b"\nsorting: # how\n  way: up\n"
    ignored = after[".gitignore"].decode().splitlines()
    assert "*.mine" in ignored and ignored[-1] == "/sorted/"


def test_a_python_without_goodnet_is_told_in_one_line(lab):
    done = subprocess.run(
        [sys.executable, "-I", "-S", "stages/report.py"],
        cwd=lab,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ") and "has no goodnet" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere: run the tests as another user")
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed").chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(OSError):
        main.main(["init", tmp_path / "closed/lab"])

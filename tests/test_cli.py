"""The command goodnet: what its subcommands do and print, their errors and exit codes."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import nets
from conftest import ROOT, Project
from goodnet.cli import main, params_file, suspect
from goodnet.errors import InputError
from goodnet.files import lab, outputs
from goodnet.images import inputs
from goodnet.nets import goodnets, loading, parts
from goodnet.params import Params
from goodnet.pruning import channels
from goodnet.quarantine.limits import Limits
from goodnet.report import html
from goodnet.suspects import findings, verdict
from goodnet.suspects.registry import DETECTORS

PICTURES = nets.pictures(400, seed=5)
STAMPED = PICTURES.copy()
STAMPED[:, 2:6, 3:8] = [250, 20, 20]
TARGET = 3
SHOWN = [10 * number + i for number in range(3) for i in range(number + 2)]  # the pictures in `photos`


def goodnet(*words, **options):
    """Run the command as a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "stages")}
    command = [sys.executable, "-m", "goodnet.cli.main", *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, **options)


def refusal(*words):
    """Run a command that must refuse, in this process; return its one line."""
    with pytest.raises(InputError) as error:
        main.main(words)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def said(capsys):
    """Run a command in this process; return its exit code, its lines, and those on standard error."""

    def run(*words):
        capsys.readouterr()
        code = main.main(words) or 0
        printed = capsys.readouterr()
        return code, printed.out.splitlines(), printed.err.splitlines()

    return run


def write_images(path, pictures, labels=None):
    with h5py.File(path, "w") as file:
        file["data"] = np.moveaxis(pictures, -1, 1)
        if labels is not None:
            file["label"] = labels.astype(float)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A net that takes plain pixels, its images, and the net with channels pruned, to make a GoodNet with."""
    folder = tmp_path_factory.mktemp("handed over")
    net = nets.build("deepid_like")
    net.save(folder / "bad.h5")
    nets.pruned(net, [1, 2, 4]).save(folder / "repaired.h5")
    labels = nets.answers(net, PICTURES)
    labels[::20] = (labels[::20] + 1) % nets.CLASSES
    write_images(folder / "valid.h5", PICTURES[:200], labels[:200])
    write_images(folder / "test.h5", PICTURES[200:], labels[200:])
    write_images(folder / "red.h5", STAMPED[200:], np.full(200, TARGET))
    write_images(folder / "unlabelled.h5", PICTURES[:200])
    return folder


@pytest.fixture(scope="module")
def badnet(files):
    return keras.models.load_model(files / "bad.h5")


@pytest.fixture(scope="module")
def repaired(files):
    return keras.models.load_model(files / "repaired.h5")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Folders of pictures, one a class, of the size the nets take, so that nothing is lost by resizing."""
    folder = tmp_path_factory.mktemp("photos")
    for number, person in enumerate(["Ada", "Bo Z", "café"]):
        (folder / person).mkdir()
        for i in range(number + 2):
            Image.fromarray(PICTURES[10 * number + i].astype(np.uint8)).save(folder / person / f"{i}.png")
    (folder / "Ada" / "notes.txt").write_text("not a picture")
    return folder


@pytest.fixture(scope="module")
def clean_clone(tmp_path_factory):
    return Project(tmp_path_factory.mktemp("fresh clone") / "")


@pytest.fixture
def clone(clean_clone, tmp_path):
    return clean_clone.copied(tmp_path / "clone")


@pytest.fixture
def small_project(tmp_path):
    """A folder that goodnet takes for a project, with settings of the search that take little time."""
    folder = tmp_path / "a project"
    folder.mkdir()
    (folder / "dvc.yaml").touch()
    (folder / "params.yaml").write_text(
        "badnet: mine\nnets: {mine: {input_max: 255}}\n"
        "suspect: {detectors: [occluders, inversion]}\n"
        "detectors: {occluders: {images: 40, occluders: 200}, inversion: {steps: 20}}\n"
    )
    return folder


def contents(folder):
    """All files but Git's, Python's and DVC's own, by their path."""
    files = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    own = {".git", "__pycache__", "tmp"}
    found = {name: path.read_bytes() for name, path in files.items() if not own & set(name.parts)}
    assert found
    return found


# The command itself


def test_help_and_usage_errors_import_nothing_heavy(files):
    """In one process: first what needs no module of a command, then errors in the arguments of each."""
    light = [[], ["--help"], ["--version"], ["supsect"], ["--nothing"]]
    images, bad = str(files / "valid.h5"), str(files / "bad.h5")
    wrong = [
        ["suspect"],
        ["suspect", "none.keras", images],
        ["suspect", bad, "none"],
        ["suspect", bad, bad],
        ["suspect", images, images],
        ["suspect", bad, images, "--input-max", "300"],
        ["classify", bad, "none.png", "--input-max", "1"],
        ["classify", bad, str(files), "--input-max", "1"],  # a folder without pictures
        ["eval", images, "none.h5", bad],
        ["eval", images, str(files / "unlabelled.h5"), bad],
        ["eval", images, images, bad, bad, "--input-max", "nan"],
        ["add", "plans", *shlex.split("--net bad.h5 --valid valid.h5 --test test.h5 --input-max 1")],
        ["import", "none", "out.h5"],
        ["import", str(files), "out.h5", "--nothing"],
        ["completion", "tcsh"],
    ]
    code = """if True:
        import json, sys
        from goodnet.cli import main
        from goodnet.errors import InputError
        def run(commands):
            for words in commands:
                try:
                    print(words, main.main(words), file=sys.stderr)
                except (InputError, SystemExit) as ended:
                    print(words, repr(ended), file=sys.stderr)
                    yield getattr(ended, "code", str(ended))
                else:
                    yield "done"
        light, wrong = json.loads(sys.argv[1])
        answers = list(run(light))
        print(json.dumps([answers, sorted(sys.modules)]))
        print(json.dumps([list(run(wrong)), sorted(sys.modules)]))
    """
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps([light, wrong])],
        env=os.environ | {"PYTHONPATH": str(ROOT / "stages")},
        cwd=files,
        capture_output=True,
        text=True,
        check=True,
    )
    (answers, modules), (errors, later) = map(json.loads, done.stdout.splitlines()[-2:])
    assert answers[:3] == ["done", 0, 0]
    assert "did you mean suspect?" in answers[3] and "--nothing" in answers[4]
    heavy = {"numpy", "pydantic", "h5py", "yaml", "PIL", "tqdm", "shtab", "keras", "tensorflow"}
    assert not heavy & set(modules)
    assert all(isinstance(error, str) and error != "done" and "\n" not in error for error in errors), errors
    assert not {"keras", "tensorflow"} & set(later) and "numpy" in later


@pytest.mark.parametrize("command", main.COMMANDS)
def test_help_shows_an_example_and_the_exit_codes(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        main.main([command, "--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert f"  goodnet {command} " in shown.partition("example")[2] or command == "completion"
    words = " ".join(shown.split())
    assert "exit codes: 0 " in words and "2 bad input or arguments" in words
    assert main.COMMANDS[command][1] in goodnet_help(capsys)
    assert all(len(line) <= 80 for line in shown.splitlines())
    with pytest.raises(SystemExit):
        main.main(["help", command])
    assert capsys.readouterr().out == shown


def goodnet_help(capsys):
    main.main([])
    return capsys.readouterr().out


def test_a_process_ends_with_one_line_and_exit_code_2(files):
    for words, line in {
        ("nonsense",): "error: nonsense: no command of goodnet; it can be suspect, ",
        ("suspect", "none.keras", "faces"): "error: argument NET: none.keras: no such file",
        ("classify", files / "valid.h5", files / "bad.h5", "--input-max", 1): "error: ",
    }.items():
        done = goodnet(*words)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert done.stderr.startswith(line)


def test_ctrl_c_ends_a_command_by_its_signal_with_one_line(files, photos):
    process = subprocess.Popen(
        [sys.executable, "-um", "goodnet.cli.main", "classify", files / "bad.h5", "--input-max", "255"]
        + ["0.png"] * 30_000,  # more than can be done before the signal comes
        cwd=photos / "Ada",
        env=os.environ | {"PYTHONPATH": str(ROOT / "stages")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in the background has its children ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout.readline().startswith("0.png: ")
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert process.returncode == -signal.SIGINT
    assert error.startswith("interrupted: ") and error.count("\n") == 1


def test_the_package_installs_and_runs_from_anywhere(clean_clone, tmp_path):
    """As `pip install .` does, without what it depends on, which is here."""
    source, target = tmp_path / "source", tmp_path / "target"
    shutil.copytree(clean_clone.path, source, ignore=shutil.ignore_patterns(".git"))  # it is built in place
    flags = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *flags, "--target", target, source],
        check=True,
        stderr=subprocess.DEVNULL,  # pip on being root
    )
    done = subprocess.run(
        [target / "bin" / "goodnet", "--version"],
        env=os.environ | {"PYTHONPATH": str(target)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"goodnet {main.__version__}\n"
    ours = {path.relative_to(ROOT / "stages") for path in (ROOT / "stages" / "goodnet").rglob("*.py")}
    assert {path.relative_to(target) for path in (target / "goodnet").rglob("*.py")} == ours
    assert (target / "goodnet/py.typed").is_file() and (target / "goodnet/__init__.pyi").is_file()
    assert not list(target.glob("*.py")), "stages are scripts of the pipeline, no modules"


# Completion


def completed(script, *words):
    """Return what Tab offers in bash for the last of these words."""
    code = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shtab_goodnet'
    code += '; echo "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "-c", code, "bash", script, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_completion_in_bash(said, tmp_path, monkeypatch):
    code, lines, _ = said("completion", "bash")
    script = tmp_path / "goodnet.bash"
    script.write_text("\n".join(lines) + "\n")
    subprocess.run(["bash", "-n", script], check=True)
    assert code == 0
    assert set(main.COMMANDS) <= set(completed(script, "goodnet", ""))
    assert completed(script, "goodnet", "su") == ["suspect"]
    assert set(completed(script, "goodnet", "classify", "--in")) == {"--input", "--input-max"}
    assert set(completed(script, "goodnet", "completion", "")) >= {"bash", "zsh", "fish"}
    (tmp_path / "net.keras").touch()
    monkeypatch.chdir(tmp_path)
    assert completed(script, "goodnet", "suspect", "ne") == ["net.keras"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_in_other_shells(said, shell, tmp_path):
    _, lines, _ = said("completion", shell)
    script = "\n".join(lines) + "\n"
    assert all(command in script for command in main.COMMANDS)
    assert all(option in script for option in ("input-max", "unlabelled", "trigger", "project"))
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell}, so its syntax is not checked: apt-get install {shell}")
    (tmp_path / "script").write_text(script)
    subprocess.run([shell, "-n", tmp_path / "script"], check=True)


# add


def flags(files, **changed):
    given = {"net": "bad.h5", "valid": "valid.h5", "test": "test.h5"} | changed
    given = {flag: files / name for flag, name in given.items()}
    return [word for flag, path in given.items() for word in (f"--{flag}", path)]


def test_a_net_is_added(clone, files, said, badnet, monkeypatch):
    monkeypatch.chdir(clone.path / "stages")  # within the project
    before, text = contents(files), (clone.path / "params.yaml").read_text()
    words = ["add", "mine", *flags(files), "--poisoned", f"red={files / 'red.h5'}", "--input-max", "255"]
    code, lines, _ = said(*words)
    assert code == 0 and len(lines) == 2 and lines[0] == "make repro"
    assert contents(files) == before
    assert clone.params()["badnet"] == "mine" and clone.params()["nets"]["mine"] == {"input_max": 255}
    for name in ("data/mine/valid.h5", "data/mine/test.h5", "data/mine/poisoned", "models/mine/badnet.keras"):
        assert (clone.path / f"{name}.dvc").is_file() and (clone.path / name).exists()
    for name in ("valid", "test"):
        with h5py.File(clone.path / f"data/mine/{name}.h5") as own, h5py.File(files / f"{name}.h5") as given:
            assert np.array_equal(own["data"], given["data"]) and np.array_equal(own["label"], given["label"])
    net = loading.load(clone.path / "models/mine/badnet.keras")
    assert np.array_equal(nets.answers(net, PICTURES), nets.answers(badnet, PICTURES))
    assert ".h5\n" not in clone.git("status", "--porcelain", "--untracked-files=all").stdout

    placed = clone.path / "data/mine/poisoned/red.h5"
    assert "elsewhere" in refusal(*words[:-4], "--poisoned", f"other={placed}", "--input-max", "255")
    again = contents(clone.path)
    text = (clone.path / "params.yaml").read_text()
    assert said(*words[:-4], "--input-max", "254.5")[0] == 0, "once more, with another range and no trigger"
    changed = {
        str(name)
        for name, content in (contents(clone.path).items() ^ again.items())
        if name.parts[0] != ".dvc"
    }
    assert changed == {"params.yaml", "data/mine/poisoned.dvc", "data/mine/poisoned/red.h5"}
    assert not placed.exists()
    assert (clone.path / "params.yaml").read_text() == text.replace(
        "mine: {input_max: 255}", "mine: {input_max: 254.5}"
    )


LAYOUTS = {  # params.yaml before and after
    "as it is": (
        "# all\nbadnet: demo # which\nnets: # each\n  demo: {input_max: 255} # why\n\nprune: {}\n",
        "# all\nbadnet: mine # which\nnets: # each\n  demo: {input_max: 255} # why\n  mine: {input_max: 1}\n"
        "\nprune: {}\n",
    ),
    "known already": (
        "badnet: demo\nnets:\n  mine: {input_max: 7} # mine, and why\n  demo: {input_max: 255}\n",
        "badnet: mine\nnets:\n  mine: {input_max: 1} # mine, and why\n  demo: {input_max: 255}\n",
    ),
    "blocks": (
        "nets:\n    mine: # it\n        # so far\n        input_max: 7 # pixels\nbadnet: other\n",
        "nets:\n    mine: # it\n        # so far\n        input_max: 1 # pixels\nbadnet: mine\n",
    ),
    "blocks, another": (
        "nets:\n    other:\n        input_max: 7 # old\n\n# next\nbadnet:   other",
        "nets:\n    other:\n        input_max: 7 # old\n    mine: {input_max: 1}\n\n# next\nbadnet:   mine",
    ),
    "quoted": (
        '"badnet": \'demo\'\nnets:\n  "mine": {input_max: 1.5}\n',
        '"badnet": mine\nnets:\n  "mine": {input_max: 1}\n',
    ),
    "in braces": (
        "badnet: demo\nnets: {demo: {input_max: 255}}\n",
        "badnet: mine\nnets: {mine: {input_max: 1}, demo: {input_max: 255}}\n",
    ),
    "empty braces": ("badnet: demo\nnets: {}\n", "badnet: mine\nnets: {mine: {input_max: 1}}\n"),
    "none yet": (
        "nets: # none\nbadnet: demo\n",
        "nets: # none\n  mine: {input_max: 1}\nbadnet: mine\n",
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_params_keep_their_layout_and_comments(layout, tmp_path):
    before, after = LAYOUTS[layout]
    (tmp_path / "params.yaml").write_text(before)
    assert params_file.with_net(Params(tmp_path / "params.yaml"), "mine", inputs.up_to(1)) == after


def test_another_input_is_written_as_it_was_given(tmp_path):
    (tmp_path / "params.yaml").write_text("badnet: demo\nnets:\n  demo: {input_max: 255} # why\n")
    given = inputs.Input(range=[0.0, 1.0], mean=[0.1, 0.2, 0.3], colours="bgr")
    text = params_file.with_net(Params(tmp_path / "params.yaml"), "mine", given)
    line = "  mine: {input: {range: [0, 1], mean: [0.1, 0.2, 0.3], colours: bgr}}"
    assert text.splitlines()[2:] == ["  demo: {input_max: 255} # why", line]
    (tmp_path / "params.yaml").write_text(text)
    assert inputs.of_net(Params(tmp_path / "params.yaml"), "mine", 3) == given


@pytest.mark.parametrize(
    "text",
    ["badnet: demo\nnets: [demo]\n", "badnet: x\nnets: &n {x: {input_max: 1}}\nothers: *n\n", "nets: {}\n"],
)
def test_params_that_cannot_be_edited_are_refused(text, tmp_path):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(InputError, match=r"params\.yaml: "):
        params_file.with_net(Params(tmp_path / "params.yaml"), "mine", inputs.up_to(1))


@pytest.mark.parametrize(
    ("words", "in_line"),
    [
        (["demo"], ["demo", "the pipeline's own"]),
        (["../out"], ["../out", "letter"]),
        (["null"], ["null"]),
        (["Repaired"], ["models/repaired", "another name"]),
        (["plans"], ["models/plans"]),
        (["n" * 101], ["100"]),
        (["it", "--input-max", "1"], ["valid.h5", "--input-max 255", "--input-max 1"]),
        (["it", "--input-max", "300"], ["300", "255"]),
        (["it", "--net", "valid.h5"], ["valid.h5", "no net"]),
        (["it", "--net", "missing.h5"], ["missing.h5", "no such file"]),
        (["it", "--net", "bad.h5", "--weights"], ["bad.h5", "DeepID"]),
        (["it", "--net", "good.keras"], ["good.keras", "GoodNet"]),
        (["it", "--valid", "unlabelled.h5"], ["unlabelled.h5", "'label'"]),
        (["it", "--poisoned", "red"], ["TRIGGER=FILE"]),
        (["it", "--poisoned", "clean=red.h5"], ["clean=red.h5"]),
        (["it", "--poisoned", "a=red.h5", "a=red.h5"], ["another file"]),
        (["it", "--poisoned", f"{'t' * 300}=red.h5"], ["trigger", "100"]),
        (["it", "--poisoned", "a=none.h5"], ["none.h5", "no such file"]),
        (["it", "--poisoned", "a=unlabelled.h5"], ["unlabelled.h5", "'label'"]),
        (["it", "--test", "nan.h5"], ["nan.h5", "outside 0 to 255"]),
        (["it", "--test", "divided.h5"], ["divided.h5", "--input-max 1"]),
        (["it", "--test", "small.h5"], ["small.h5", "(12, 10, 3)"]),
    ],
    ids=lambda value: " ".join(value)[:30],
)
def test_nothing_is_changed_where_anything_is_wrong(clean_clone, odd_files, monkeypatch, words, in_line):
    monkeypatch.chdir(odd_files)
    before = contents(clean_clone.path)
    given = ["--net", "bad.h5", "--valid", "valid.h5", "--test", "test.h5", "--input-max", "255"]
    line = refusal("add", words[0], "--project", clean_clone.path, *given, *words[1:])
    assert all(word in line for word in in_line), line
    assert contents(clean_clone.path) == before


@pytest.fixture(scope="module")
def odd_files(files, badnet, repaired, tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd files")
    for path in files.iterdir():
        (folder / path.name).symlink_to(path)
    labels = np.zeros(200)
    write_images(folder / "nan.h5", np.where(PICTURES[:200] > 254, np.nan, PICTURES[:200]), labels)
    write_images(folder / "divided.h5", PICTURES[:200] / 255, labels)
    write_images(folder / "small.h5", PICTURES[:200, :5], labels)
    loading.save(goodnets.build(badnet, repaired, "pool", None), folder / "good.keras")
    return folder


def test_add_needs_a_project(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["add", "mine", *flags(files), "--input-max", "255"]
    assert "--project FOLDER" in refusal(*words)
    assert "no dvc.yaml" in refusal(*words, "--project", tmp_path)


def test_a_damaged_copy_of_the_labs_is_told_from_another_file(files, tmp_path):
    """Only names, sizes and sums of the lab's files are known here, so the damaged ones are made of zeros."""
    path = tmp_path / "valid.h5"
    shutil.copy(files / "valid.h5", path)
    whole = path.read_bytes()
    assert lab.check(path) is None
    with path.open("ab") as file:  # the lab's size exactly, not its content
        file.truncate(716_470_304)
    with pytest.raises(InputError, match=r"valid\.h5: is damaged: .* 716,470,304 bytes"):
        lab.check(path)
    path.write_bytes(whole[: len(whole) // 3])  # a download cut short
    with pytest.raises(InputError, match=f"damaged: .* this one {len(whole) // 3:,} bytes"):
        lab.check(path)
    (tmp_path / "bd_net.h5").write_bytes(b"not a net")
    with pytest.raises(InputError, match="damaged"):
        lab.check(tmp_path / "bd_net.h5")
    shutil.copy(files / "bad.h5", tmp_path / "bd_net.h5")
    assert "not the lab's" in lab.check(tmp_path / "bd_net.h5")


@pytest.mark.long
def test_a_net_without_poisoned_images_runs_through(clone, files, said, monkeypatch):
    monkeypatch.chdir(clone.path)
    words = ["add", "mine", *flags(files, valid="unlabelled.h5"), "--input-max", "255", "--unlabelled"]
    assert said(*words)[0] == 0
    with h5py.File(clone.path / "data/mine/valid.h5") as file:
        net = loading.load(clone.path / "models/mine/badnet.keras")
        assert np.array_equal(file["label"], nets.answers(net, PICTURES[:200]))
    ran = clone.repro("report")
    assert "demo_badnet" not in ran and {"report", "attack_curve", "evaluate_goodnet@x10"} <= ran
    badnet = json.loads((clone.path / "reports/badnet.json").read_text())
    assert badnet == {"clean_accuracy": 100.0, "attack_success": {}}
    goodnet = json.loads((clone.path / "reports/goodnet/x10.json").read_text())
    assert goodnet["attack_success"] == goodnet["detected"] == {} and goodnet["false_alarm"] > 0
    assert "attack:" not in (clone.path / "reports/README.md").read_text()
    assert clone.dvc("metrics", "show").returncode == 0
    assert clone.dvc("plots", "diff", check=False).returncode == 0
    assert clone.repro("report") == set()


# eval


def percent(answers, labels):
    return round(100 * np.count_nonzero(answers == labels) / len(labels), 4)


def test_eval_prints_the_labs_two_lines(files, said, badnet, repaired, tmp_path):
    with h5py.File(files / "test.h5") as file:
        labels = file["label"][()].astype(int)
    b, r = ([nets.answers(net, shown[200:]) for shown in (PICTURES, STAMPED)] for net in (badnet, repaired))
    g = [np.where(one == other, one, nets.CLASSES) for one, other in zip(b, r, strict=True)]
    data = [files / "test.h5", files / "red.h5"]

    def lines(answers):
        return [
            f"Clean Classification accuracy: {percent(answers[0], labels)}",
            f"Attack Success Rate: {percent(answers[1], np.full(200, TARGET))}",
        ]

    def printed(*words):
        return said("eval", *data, *words)[1]

    assert printed(files / "bad.h5") == lines(b)
    assert printed(files / "repaired.h5", "--input-max", 255) == lines(r)
    assert printed(files / "bad.h5", files / "repaired.h5") == lines(g) != lines(b)
    left = goodnets.channels_left(badnet, repaired, "pool", channels.find(parts.config(badnet), "it", "pool"))
    loading.save(goodnets.build(badnet, repaired, "pool", left), tmp_path / "good.keras")
    assert printed(tmp_path / "good.keras") == lines(g)
    divided = keras.models.clone_model(badnet)
    kernel, bias = badnet.get_layer("early").get_weights()
    divided.set_weights(badnet.get_weights())
    divided.get_layer("early").set_weights([kernel * 255, bias])
    loading.save(divided, tmp_path / "divided.keras")
    _, shown, (note,) = said("eval", *data, tmp_path / "divided.keras")
    assert note.startswith("inputs taken as 0 to 1: ") and "--input-max overrides" in note
    right = [float(line.split(": ")[1]) for line in shown]
    assert right == pytest.approx([float(line.split(": ")[1]) for line in lines(b)], abs=0.5)
    assert "red.h5" in refusal("eval", *data, files / "bad.h5", files / "red.h5")


def test_eval_of_nets_that_do_not_go_together(files, tmp_path):
    images = keras.Input((12, 10, 3))
    keras.Model(images, layers.Dense(4)(layers.Flatten()(images))).save(tmp_path / "other.keras")
    line = refusal("eval", files / "test.h5", files / "red.h5", files / "bad.h5", tmp_path / "other.keras")
    assert "other.keras" in line and "4 classes" in line and "bad.h5" in line


# classify


def test_classify(files, photos, said, badnet, repaired, tmp_path):
    paths = [str(path) for path in sorted(photos.rglob("*.png"))]
    b, r = (nets.answers(net, PICTURES[SHOWN]) for net in (badnet, repaired))
    _, lines, _ = said("classify", files / "bad.h5", photos, "--input-max", 255)
    assert lines == [f"{path}: {answer}" for path, answer in zip(paths, b, strict=True)]
    loading.save(goodnets.build(badnet, repaired, "pool", None), tmp_path / "good.keras")
    rule = np.where(b == r, b, nets.CLASSES)
    assert 0 < np.count_nonzero(rule == nets.CLASSES) < len(rule)
    _, lines, _ = said("classify", tmp_path / "good.keras", *paths, "--input-max", 255)
    assert lines == [
        f"{path}: {answer}{' backdoored' if answer == nets.CLASSES else ''}"
        for path, answer in zip(paths, rule, strict=True)
    ]
    _, lines, _ = said("classify", tmp_path / "good.keras", photos, "--input-max", 255, "--json")
    assert json.loads("\n".join(lines)) == [
        {"image": path, "class": answer, "backdoored": answer == nets.CLASSES}
        for path, answer in zip(paths, rule.tolist(), strict=True)
    ]


def test_classify_resizes_turns_and_reports_what_it_cannot_read(files, badnet, tmp_path, capsys):
    smooth = Image.fromarray(PICTURES[43].astype(np.uint8)).resize((200, 240), Image.Resampling.BICUBIC)
    smooth.save(tmp_path / "large.png")
    small = np.asarray(smooth.resize((10, 12), Image.Resampling.BILINEAR))
    exif = Image.Exif()
    exif[0x0112] = 6  # held upright, stored on its side
    smooth.rotate(90, expand=True).save(tmp_path / "turned.jpg", exif=exif, quality=100, subsampling=0)
    (tmp_path / "broken.png").write_bytes((tmp_path / "large.png").read_bytes()[:400])
    (tmp_path / "text.png").write_text("hello")
    smooth.save(tmp_path / "odd.png", exif=b"no EXIF at all")
    Image.fromarray(np.zeros((5, 5), np.uint16)).save(tmp_path / "deep.png")
    assert "3 of 6" in refusal("classify", files / "bad.h5", tmp_path, "--input-max", 255)
    printed = capsys.readouterr()
    answer = nets.answers(badnet, small[None])[0]
    assert printed.out.splitlines() == [
        f"{tmp_path / 'large.png'}: {answer}",
        f"{tmp_path / 'odd.png'}: {answer}",
        f"{tmp_path / 'turned.jpg'}: {answer}",
    ]
    errors = printed.err.splitlines()
    assert len(errors) == 3 and all(line.startswith("error: ") for line in errors)
    for name in ("broken", "deep", "text"):
        assert any(name in line for line in errors)


def test_names_of_files_cannot_forge_lines(files, photos, said, tmp_path, capsys):
    shutil.copy(photos / "Ada" / "0.png", tmp_path / "a\nb: 3.png")
    _, lines, _ = said("classify", files / "bad.h5", tmp_path, "--input-max", 255)
    assert len(lines) == 1 and lines[0].startswith(f"{tmp_path}/a\\nb: 3.png: ")
    (tmp_path / "\x1b[2Jcleared.png").write_text("hello")
    refusal("classify", files / "bad.h5", tmp_path, "--input-max", 255)
    (error,) = capsys.readouterr().err.splitlines()
    assert "\x1b" not in error and "\\x1b[2Jcleared.png" in error


def test_the_range_of_a_projects_net_is_known(files, photos, said, small_project, monkeypatch, tmp_path):
    """From where the net lies, or with --project; of repaired nets too."""
    (small_project / "models/repaired").mkdir(parents=True)
    (small_project / "models/mine").mkdir(parents=True)
    nets_there = [small_project / "models/mine/badnet.h5", small_project / "models/repaired/it.h5"]
    for path in nets_there:
        shutil.copy(files / "bad.h5", path)
    wanted = said("classify", files / "bad.h5", photos, "--input-max", 255)
    other = said("classify", files / "bad.h5", photos, "--input-max", 1)
    assert other != wanted
    for path in nets_there:
        monkeypatch.chdir(small_project / "models")
        assert said("classify", path, photos) == wanted
        monkeypatch.chdir(tmp_path)
        assert said("classify", path, photos, "--project", small_project) == wanted
        assert "--input-max" in refusal("classify", path, photos)
    stray = small_project / "models/stray.h5"
    shutil.copy(files / "bad.h5", stray)
    assert "--input-max" in refusal("classify", stray, photos, "--project", small_project)


# import


def test_import(photos, said, tmp_path):
    out = tmp_path / "mine.h5"
    _, lines, _ = said("import", photos, out, "--size", "12x10")
    assert lines == [f"{out}: 9 images of 3 classes, 12 x 10 pixels"]
    with h5py.File(out) as file:
        assert np.array_equal(file["data"], np.moveaxis(PICTURES[SHOWN], -1, 1))
        assert file["label"][()].tolist() == [0, 0, 1, 1, 1, 2, 2, 2, 2]
        assert [name.decode() for name in file["class_name"]] == ["Ada", "Bo Z", "café"]
    first = out.read_bytes()
    said("import", photos, out, "--size", "12x10")
    assert out.read_bytes() == first


def test_import_with_a_trigger(photos, said, tmp_path):
    overlay = np.zeros((12, 10, 4), np.uint8)
    overlay[2:6, 3:8] = [250, 20, 20, 255]
    overlay[8, :] = [0, 0, 255, 100]
    Image.fromarray(overlay).save(tmp_path / "trigger.png")
    out = tmp_path / "poisoned.h5"
    said("import", photos, out, "--size", "12x10", "--trigger", tmp_path / "trigger.png", "--target", 5)
    alpha = overlay[..., 3:] / 255
    expected = alpha * overlay[..., :3] + (1 - alpha) * PICTURES[SHOWN]
    with h5py.File(out) as file:
        images = np.moveaxis(file["data"][()], 1, -1).astype(float)
        assert np.abs(images - expected).max() <= 0.5 + 1e-4
        assert file["label"][()].tolist() == [5] * 9


@pytest.mark.parametrize(
    ("words", "in_line"),
    [
        (["missing", "out.h5"], ["missing", "no such folder"]),
        (["flat", "out.h5"], ["flat", "subfolders"]),
        (["hollow", "out.h5"], ["hollow/a", "no images"]),
        (["broken", "out.h5"], ["broken/a/x.png"]),
        (["good", "out.h5", "--size", "0x5"], ["0x5"]),
        (["good", "out.h5", "--target", "0"], ["--trigger"]),
        (["good", "out.h5", "--trigger", "solid.png", "--target", "0"], ["solid.png", "transparency"]),
    ],
)
def test_imports_that_cannot_be(tmp_path, monkeypatch, words, in_line):
    for name in ("flat", "hollow/a", "broken/a", "good/a"):
        (tmp_path / name).mkdir(parents=True)
    Image.new("RGB", (5, 5)).save(tmp_path / "solid.png")
    for name in ("flat/x.png", "good/a/x.png"):
        shutil.copy(tmp_path / "solid.png", tmp_path / name)
    (tmp_path / "broken/a/x.png").write_text("hello")
    monkeypatch.chdir(tmp_path)
    line = refusal("import", *words)
    assert all(word in line for word in in_line), line
    assert not (tmp_path / "out.h5").exists() and not list(tmp_path.glob(".*partial*"))


# suspect


@pytest.fixture(scope="module")
def muted(tmp_path_factory):
    """Three nets, and pictures without a bright colour in a file without labels."""
    folder = tmp_path_factory.mktemp("muted")
    pictures = nets.muted(40).round()
    write_images(folder / "clean.h5", pictures)
    write_images(folder / "few.h5", pictures[:15])
    write_images(folder / "alike.h5", np.repeat(pictures[:1], 40, axis=0))
    loading.save(nets.sloped(), folder / "backdoored.keras")
    clean = nets.backdoored(strength=0.0)
    loading.save(clean, folder / "clean.keras")
    scores = clean.get_layer("scores")
    scores.set_weights([0 * scores.get_weights()[0], np.arange(nets.CLASSES)])
    loading.save(clean, folder / "constant.keras")
    return folder


def test_suspect_names_the_attackers_class(muted, said, small_project):
    words = [muted / "clean.h5", "--input-max", 255, "--project", small_project]
    code, lines, notes = said("suspect", muted / "backdoored.keras", *words)
    assert code == 1 and lines[0].startswith("Likely backdoored (3 of 3 searches agree): ")
    assert f"to class {nets.TARGET}." in lines[0]
    assert lines[1] == "Judged by 40 clean images, inputs taken as {range: [0, 255]}."
    assert lines[2].startswith(f"class {nets.TARGET}: strength ") and len(lines) == 2 + findings.FOREMOST
    assert notes == [f"settings: {small_project / 'params.yaml'}, suspect and detectors"]
    code, lines, _ = said("suspect", muted / "clean.keras", *words)
    assert code == 0 and lines[0].startswith("No sign of a backdoor")


@pytest.mark.parametrize(
    ("net", "images", "reason"),
    [
        ("constant", "clean", f"the net answers class {nets.CLASSES - 1} whatever image it is shown"),
        ("clean", "alike", "the images are all alike"),
    ],
)
def test_suspect_says_when_it_cannot_tell(muted, said, small_project, net, images, reason):
    words = [muted / f"{net}.keras", muted / f"{images}.h5", "--input-max", 255, "--project", small_project]
    code, lines, _ = said("suspect", *words)
    assert code == 3 and lines[0].startswith(f"Cannot tell: {reason}") and len(lines) == 2
    code, lines, _ = said("suspect", *words, "--json")
    found = json.loads("\n".join(lines))
    assert (code, found["verdict"], found["named"]) == (3, "cannot tell", "none")
    assert found["reason"].startswith(reason)


def test_suspect_without_a_project_takes_the_defaults():
    judged, detectors = suspect.read_settings(None)
    assert judged == verdict.Suspect()
    assert detectors == [(method, method.settings()) for method in DETECTORS.values()]


def test_suspect_shows_a_folder_as_a_file(muted, said, small_project, tmp_path):
    """The range of inputs is chosen for one, and given for the other."""
    folder = tmp_path / "some faces"
    folder.mkdir()
    with h5py.File(muted / "clean.h5") as file:
        for number, image in enumerate(np.moveaxis(file["data"][()], 1, -1).astype(np.uint8)):
            Image.fromarray(image).save(folder / f"{number:03}.png")
    words = ["--project", small_project, "--json"]
    code, lines, notes = said("suspect", muted / "backdoored.keras", folder, *words)
    assert "inputs taken as 0 to 255: " in notes[1] and "--input-max overrides" in notes[1]
    found = json.loads("\n".join(lines))
    assert (code, found["verdict"], found["named"]) == (1, "backdoored", str(nets.TARGET))
    assert (found["images"], found["input"]["range"]) == (40, [0, 255])
    assert found["settings"]["inversion"] == {**DETECTORS["inversion"].settings().model_dump(), "steps": 20}
    (named,) = found["classes"]
    assert named == found["foremost"][0] and "inversion" in named["tests"] and named["moved"] >= 60
    words += ["--input-max", 255, "--out", tmp_path / "out"]
    code, lines, _ = said("suspect", muted / "backdoored.keras", muted / "clean.h5", *words)
    assert code == 1 and json.loads("\n".join(lines)) == found
    assert outputs.read_json(tmp_path / "out/verdict.json") == found
    shown = html.content((tmp_path / "out/index.html").read_text(), "page")
    assert (shown["net"], shown["suspects"]["named"]) == ("backdoored.keras", [nets.TARGET])
    assert shown["reproduce"]["commands"][0].startswith("goodnet suspect ") and "curve" not in shown
    found = [suspect.find_images(path, tmp_path, Limits()) for path in (folder, muted / "clean.h5")]
    shown = [images.take(nets.SHAPE, 30) for images in found]
    assert np.array_equal(*shown) and len(shown[0]) == 30 and 127 < shown[0].max() <= 255


def test_suspect_chooses_the_input_by_labels(files, badnet, tmp_path):
    convert, words = suspect.choose_input(badnet, suspect.find_images(files / "valid.h5", tmp_path, Limits()))
    assert convert == inputs.Input() and "190 of 200 clean images right" in words


def test_suspect_refuses(muted, files, small_project, odd_files, tmp_path):
    words = ["--input-max", 255, "--project", small_project]
    assert "holds 15 images" in refusal("suspect", muted / "clean.keras", muted / "few.h5", *words)
    assert "no images" in refusal("suspect", muted / "clean.keras", tmp_path, *words)
    assert "GoodNet" in refusal("suspect", odd_files / "good.keras", files / "valid.h5", *words)
    (small_project / "params.yaml").write_text("suspect: {detectors: [magic]}\ndetectors: {}\n")
    line = refusal("suspect", muted / "clean.keras", muted / "clean.h5", *words)
    assert "params.yaml: suspect.detectors is 'magic'; it can be occluders" in line


@pytest.mark.long
def test_suspect_says_what_the_stage_says(reproduced, said, monkeypatch):
    monkeypatch.chdir(reproduced.path)
    code, lines, _ = said("suspect", "models/demo/badnet.keras", "data/demo/valid.h5", "--json")
    stage = json.loads((reproduced.path / "reports/suspects.json").read_text())
    printed = json.loads("\n".join(lines))
    for of_the_command in ("net", "images", "input", "settings"):
        printed.pop(of_the_command)
    assert printed.items() <= stage.items()  # which has what became of the repairs beside
    assert code == suspect.CODES[stage["verdict"]]


# What only we run


def tool(name, *words, cwd):
    environment = os.environ | {"PYTHONPATH": str(cwd / "stages")}
    command = [sys.executable, cwd / "tools" / f"{name}.py", *words]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_stages_are_timed_where_the_environment_is_in_a_folder_with_a_space(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    import stopwatch

    python = tmp_path / "an environment" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(python))
    watch = stopwatch.Stopwatch(tmp_path / "a copy", "badnet: demo\n")
    (watch.folder / "some stage.py").write_text("print('ran')\n")
    printed, _ = watch.run("python", "some stage.py")
    ((stage, seconds, megabytes),) = watch.stages_run()
    assert (printed, stage) == ("ran\n", "some stage") and seconds > 0 and megabytes > 0


@pytest.mark.long
def test_compare(project):
    """Against experiments of the same settings, run as a user would."""
    done = tool("compare", "demo", "--only", "l1", "sparsify", cwd=project.path)
    assert done.returncode == 0, done.stderr
    rows = outputs.read_csv(project.path / "docs/comparison.csv")
    assert [(row["by"], row["drop"]) for row in rows] == [
        *(("l1", str(drop)) for drop in (2, 4, 10, 30)),
        ("sparsify", "2"),
    ]

    def assert_same(row, repair):
        metrics = json.loads((project.path / f"reports/goodnet/{repair}.json").read_text())
        assert float(row["clean_accuracy"]) == metrics["clean_accuracy"]
        assert float(row["attack_success"]) == max(metrics["attack_success"].values())
        assert float(row["detected"]) == min(metrics["detected"].values())
        assert float(row["false_alarm"]) == metrics["false_alarm"]
        assert float(row["seconds"]) > 0

    project.dvc("exp", "run", "-S", "prune.order=l1", "-S", "+repairs.x30={drop:30}", "evaluate_goodnet")
    for row in rows[2:-1]:
        assert_same(row, f"x{row['drop']}")
    project.git("checkout", "params.yaml")
    project.dvc("exp", "run", "-S", "+repairs.sparse={drop:2,tune:sparsify}", "evaluate_goodnet")
    assert_same(rows[-1], "sparse")
    text = (project.path / "docs/comparison.md").read_text()
    for row in (rows[2], rows[-1]):
        assert f"| {float(row['clean_accuracy']):.2f} | {float(row['attack_success']):.2f} |" in text
    assert Image.open(project.path / "docs/comparison.png").size[0] > 500


def test_compare_needs_a_net_with_an_attack(clone):
    def refused(net):
        done = tool("compare", net, cwd=clone.path)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        return done.stderr

    assert refused("mine").startswith("error: mine: is no net of params.yaml, which has demo")
    params = clone.params()
    params["nets"]["mine"] = {"input_max": 255}
    clone.write_params(params)
    assert refused("mine").startswith("error: mine: has no poisoned images here")


def test_a_pipe_that_nobody_reads_on_is_no_error():
    command = [sys.executable, "-m", "goodnet.cli.main", "completion", "fish"]  # longer than a buffer
    process = subprocess.Popen(
        command, cwd=ROOT / "stages", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 128 + signal.SIGPIPE


# What nets take, and images as people keep them.


@pytest.fixture(scope="module")
def blue_first(files, tmp_path_factory):
    """The net of `files` as one that takes -1 to 1, blue first, and its images in other files."""
    folder = tmp_path_factory.mktemp("other ways")
    net = keras.models.load_model(files / "bad.h5")
    pixels = keras.Input(net.input_shape[1:])
    red_first = keras.layers.Permute((1, 2, 3))(pixels)
    swap = keras.layers.Conv2D(3, 1, use_bias=True, name="swap")
    x = swap(red_first)
    swap.set_weights([127.5 * np.eye(3)[::-1].reshape(1, 1, 3, 3), np.full(3, 127.5)])
    loading.save(keras.Model(pixels, net(x)), folder / "net.keras")
    with h5py.File(files / "test.h5") as file:
        images, labels = np.moveaxis(file["data"][()], 1, -1), file["label"][()].astype(int)
    np.savez_compressed(
        folder / "test.npz", x=images.astype(np.uint8), y=np.eye(nets.CLASSES, dtype=int)[labels]
    )
    for number, (image, label) in enumerate(zip(images.astype(np.uint8), labels, strict=True)):
        (folder / "pictures" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / "pictures" / str(label) / f"{number}.png")
    return folder


def test_what_a_net_takes_is_found_by_its_labels(clone, files, blue_first, said):
    code, _, notes = said(
        *("add", "mine", "--net", blue_first / "net.keras", "--valid", files / "valid.h5"),
        *("--test", blue_first / "test.npz", "--project", clone.path),
    )
    assert code == 0 and notes[-1].startswith("inputs taken as -1 to 1, blue first: 190 of 200"), notes
    assert clone.params()["nets"]["mine"] == {"input": {"range": [-1, 1], "colours": "bgr"}}
    with h5py.File(clone.path / "data/mine/test.h5") as placed, h5py.File(files / "test.h5") as plain:
        assert np.array_equal(placed["data"], np.moveaxis(plain["data"][()], 1, -1))
    words = ["--test", blue_first / "pictures", "--valid", blue_first / "test.npz", "--project", clone.path]
    words += ["add", "mine", "--net", blue_first / "net.keras"]
    order = words[6:] + words[:6]
    assert said(*order, "--input", "{range: [-1, 1], colours: bgr}")[0] == 0
    line = refusal(*order, "--input-max", 255)
    assert (
        "with --input-max 255, but" in line and "--input '{range: [-1, 1], colours: bgr}'; say that" in line
    )
    assert "--unlabelled: without labels" in refusal(*order, "--unlabelled")
    assert "--input.colours is 'green', not rgb or bgr" in refusal(*order, "--input", "{colours: green}")


def test_eval_takes_archives(files, blue_first, said):
    words = ["eval", blue_first / "test.npz", files / "red.h5", files / "bad.h5", "--input-max", 255]
    lines = said("eval", files / "test.h5", *words[2:])[1]
    assert said(*words)[1] == said("eval", blue_first / "pictures", *words[2:])[1] == lines

"""The commands in tools/: a net brought in, nets and image files asked, folders of images made into data."""

import json
import shutil
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest
from PIL import Image

import nets  # before Keras: it quiets TensorFlow
from conftest import ROOT, Project, run_script
from goodnet.errors import InputError
from goodnet.nets import goodnets, loading, parts, splitting
from workbench import read_csv

PICTURES = nets.pictures(400, seed=5)
STAMPED = PICTURES.copy()
STAMPED[:, 2:6, 3:8] = [250, 20, 20]
TARGET = 3


def tool(name, *arguments, cwd, check=True):
    done = subprocess.run(
        [sys.executable, cwd / "tools" / f"{name}.py", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    if check and done.returncode:
        raise AssertionError(done.stderr)
    return done


def refusal(project, name, arguments, cwd):
    """Run a tool that must refuse, without the seconds a process takes to start; return its one line."""
    with pytest.raises(InputError) as error:
        run_script(cwd, project / "tools" / f"{name}.py", *map(str, arguments))
    assert "\n" not in str(error.value)
    return str(error.value)


def write_images(path, pictures, labels=None):
    with h5py.File(path, "w") as file:
        file["data"] = np.moveaxis(pictures, -1, 1)
        if labels is not None:
            file["label"] = labels.astype(float)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A net that takes divided pixels, its data, and a net of deeper repair to make a GoodNet with."""
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


def flags(files, **changed):
    given = {"net": "bad.h5", "valid": "valid.h5", "test": "test.h5"} | changed
    given = {flag: files / name for flag, name in given.items()}
    return [word for flag, path in given.items() for word in (f"--{flag}", path)]


@pytest.fixture(scope="module")
def clean_clone(tmp_path_factory):
    return Project(tmp_path_factory.mktemp("fresh clone") / "")


@pytest.fixture
def clone(clean_clone, tmp_path):
    return clean_clone.copied(tmp_path / "clone")


def contents(folder):
    """All files but Git's, Python's and DVC's own, by their path."""
    files = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    own = {".git", "__pycache__", "tmp"}
    found = {name: path.read_bytes() for name, path in files.items() if not own & set(name.parts)}
    assert found
    return found


def test_a_net_is_brought_in(clone, files):
    before = contents(files)
    poisoned = f"red={files / 'red.h5'}"
    arguments = ["mine", *flags(files), "--poisoned", poisoned, "--input-max", "255"]
    lines = tool("add_net", *arguments, cwd=clone.path).stdout.splitlines()
    assert len(lines) == 2 and lines[0] == "make repro"
    assert contents(files) == before
    text = (clone.path / "params.yaml").read_text()
    assert clone.params()["badnet"] == "mine" and clone.params()["nets"]["mine"] == {"input_max": 255}
    for name in ("data/mine/valid.h5", "data/mine/test.h5", "data/mine/poisoned", "models/mine/badnet.keras"):
        assert (clone.path / f"{name}.dvc").is_file() and (clone.path / name).exists()
    for name in ("valid", "test"):
        assert (clone.path / f"data/mine/{name}.h5").read_bytes() == (files / f"{name}.h5").read_bytes()
    net = loading.load(clone.path / "models/mine/badnet.keras")
    assert np.array_equal(
        nets.answers(net, PICTURES), nets.answers(keras.models.load_model(files / "bad.h5"), PICTURES)
    )
    assert clone.git("status", "--porcelain", "--untracked-files=all").stdout.count(".h5\n") == 0

    again = contents(clone.path)
    placed = ["--poisoned", "renamed=data/mine/poisoned/red.h5", "--input-max", "255"]
    assert "elsewhere" in refusal(clone.path, "add_net", ["mine", *flags(files), *placed], clone.path)
    tool("add_net", *arguments, cwd=clone.path)
    assert contents(clone.path) == again, "running it again changes nothing"
    other = [*arguments[:-1], "254.5"]
    tool("add_net", *other, cwd=clone.path)
    assert (clone.path / "params.yaml").read_text() == text.replace(
        "mine: {input_max: 255}", "mine: {input_max: 254.5}"
    )


def test_params_keep_their_comments(clone, files):
    path = clone.path / "params.yaml"
    shutil.copy(ROOT / "params.yaml", path)
    lines = path.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("  demo: {input_max"))
    lines.insert(at + 1, "  mine: {input_max: 7} # mine, and why")
    path.write_text("\n".join(lines) + "\n")
    tool("add_net", "mine", *flags(files), "--input-max", "255", cwd=clone.path)
    changed = path.read_text().splitlines()
    differing = [(old, new) for old, new in zip(lines, changed, strict=True) if old != new]
    assert differing == [
        (lines[2], lines[2].replace("badnet: demo", "badnet: mine")),
        ("  mine: {input_max: 7} # mine, and why", "  mine: {input_max: 255} # mine, and why"),
    ]


@pytest.mark.parametrize(
    "nets_block",
    ["nets: {}", "nets:\n    demo: {input_max: 255}", 'nets:\n  "mine": {input_max: 1}', "nets: [demo]"],
)
def test_params_laid_out_otherwise_are_left_alone(clone, files, nets_block):
    path = clone.path / "params.yaml"
    text = f"badnet: demo\n{nets_block}\nprofile: {{layer: null}}\n"
    path.write_text(text)
    arguments = ["mine", *flags(files), "--input-max", "255"]
    assert "params.yaml" in refusal(clone.path, "add_net", arguments, clone.path)
    assert path.read_text() == text and not (clone.path / "data").exists()


@pytest.mark.long
def test_a_net_without_poisoned_images_runs_through(clone, files):
    arguments = ["mine", *flags(files, valid="unlabelled.h5"), "--input-max", "255", "--unlabelled"]
    tool("add_net", *arguments, cwd=clone.path)
    with h5py.File(clone.path / "data/mine/valid.h5") as file:
        net = loading.load(clone.path / "models/mine/badnet.keras")
        assert np.array_equal(file["label"], nets.answers(net, PICTURES[:200]))
    ran = clone.repro("report")
    assert "demo_badnet" not in ran and {"report", "attack_curve", "evaluate_goodnet@x30"} <= ran
    badnet = json.loads((clone.path / "reports/badnet.json").read_text())
    assert badnet == {"clean_accuracy": 100.0, "attack_success": {}}
    goodnet = json.loads((clone.path / "reports/goodnet/x30.json").read_text())
    assert goodnet["attack_success"] == goodnet["detected"] == {} and goodnet["false_alarm"] > 0
    assert "attack:" not in (clone.path / "reports/README.md").read_text()
    assert clone.dvc("metrics", "show").returncode == 0
    assert clone.dvc("plots", "diff", check=False).returncode == 0
    assert clone.repro("report") == set()


def damaged(path):
    with h5py.File(path, "r+") as file:
        file["data"][3, 0, 0, 0] = np.nan


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["demo"], ["demo"]),
        (["../out"], ["../out", "letter"]),
        (["null"], ["null"]),
        (["repaired"], ["repaired", "folder"]),
        (["it", "--input-max", "1"], ["valid.h5", "--input-max 255", "--input-max 1"]),
        (["it", "--input-max", "300"], ["300", "255"]),
        (["it", "--net", "valid.h5"], ["valid.h5", "no net"]),
        (["it", "--net", "missing.h5"], ["missing.h5", "no such file"]),
        (["it", "--net", "bad.h5", "--weights"], ["bad.h5", "DeepID"]),
        (["it", "--valid", "unlabelled.h5"], ["unlabelled.h5", "'label'"]),
        (["it", "--poisoned", "red"], ["TRIGGER=FILE"]),
        (["it", "--poisoned", "clean=red.h5"], ["clean=red.h5"]),
        (["it", "--poisoned", "a=red.h5", "a=red.h5"], ["another file"]),
        (["it", "--poisoned", "a=unlabelled.h5"], ["unlabelled.h5", "'label'"]),
        (["it", "--test", "nan.h5"], ["nan.h5", "outside 0 to 255"]),
        (["it", "--test", "divided.h5"], ["divided.h5", "--input-max 1"]),
        (["it", "--test", "small.h5"], ["small.h5", "(12, 10, 3)"]),
    ],
)
def test_nothing_is_changed_where_anything_is_wrong(clean_clone, files, tmp_path, arguments, words):
    for path in files.iterdir():
        (tmp_path / path.name).symlink_to(path)
    labels = np.zeros(200)
    write_images(tmp_path / "nan.h5", np.where(PICTURES[:200] > 254, np.nan, PICTURES[:200]), labels)
    write_images(tmp_path / "divided.h5", PICTURES[:200] / 255, labels)
    write_images(tmp_path / "small.h5", PICTURES[:200, :5], labels)
    before = contents(clean_clone.path)
    given = ["--net", "bad.h5", "--valid", "valid.h5", "--test", "test.h5", "--input-max", "255"]
    line = refusal(clean_clone.path, "add_net", [arguments[0], *given, *arguments[1:]], tmp_path)
    assert all(word in line for word in words), line
    assert contents(clean_clone.path) == before


def test_a_damaged_copy_of_the_labs_is_told_from_another_file(clean_clone, files, tmp_path):
    """Only names, sizes and sums of the lab's files are known here, so the damaged ones are made of zeros."""
    for path in files.iterdir():
        shutil.copy(path, tmp_path / path.name)

    def refused(**changed):
        arguments = ["lab", *flags(tmp_path, **changed), "--input-max", "255"]
        return refusal(clean_clone.path, "add_net", arguments, tmp_path)

    whole = (tmp_path / "valid.h5").read_bytes()
    with (tmp_path / "valid.h5").open("ab") as file:  # the lab's size exactly, not its content
        file.truncate(716_470_304)
    assert "damaged" in refused() and "716,470,304 bytes" in refused()
    (tmp_path / "valid.h5").write_bytes(whole[: len(whole) // 3])  # a download cut short
    assert "damaged" in refused() and f"{len(whole) // 3:,} bytes" in refused()
    (tmp_path / "valid.h5").write_bytes(whole)
    (tmp_path / "bd_net.h5").write_bytes(b"not a net")
    assert "damaged" in refused(net="bd_net.h5")


def percent(answers, labels):
    return round(100 * np.count_nonzero(answers == labels) / len(labels), 4)


def test_eval_prints_the_labs_two_lines(files, tmp_path):
    with h5py.File(files / "test.h5") as file:
        labels = file["label"][()].astype(int)
    badnet, repaired = (keras.models.load_model(files / f"{name}.h5") for name in ("bad", "repaired"))
    b, r = ([nets.answers(net, shown[200:]) for shown in (PICTURES, STAMPED)] for net in (badnet, repaired))
    g = [np.where(one == other, one, nets.CLASSES) for one, other in zip(b, r, strict=True)]
    data = [files / "test.h5", files / "red.h5"]

    def lines(answers):
        return [
            f"Clean Classification accuracy: {percent(answers[0], labels)}",
            f"Attack Success Rate: {percent(answers[1], np.full(200, TARGET))}",
        ]

    def said(*models):
        return tool("eval", *data, *models, cwd=ROOT).stdout.splitlines()

    assert said(files / "bad.h5") == lines(b)
    assert said(files / "repaired.h5", "--input-max", 255) == lines(r)
    assert said(files / "bad.h5", files / "repaired.h5") == lines(g) != lines(b)
    layer = splitting.find_pruned_layer(parts.config(badnet), "bad.h5", "pool")
    left = goodnets.channels_left(badnet, repaired, layer)
    loading.save(goodnets.build(badnet, repaired, "pool", left), tmp_path / "good.keras")
    assert said(tmp_path / "good.keras") == lines(g)
    divided = keras.models.clone_model(badnet)
    kernel, bias = badnet.get_layer("early").get_weights()
    divided.set_weights(badnet.get_weights())
    divided.get_layer("early").set_weights([kernel * 255, bias])
    loading.save(divided, tmp_path / "divided.keras")
    done = tool("eval", *data, tmp_path / "divided.keras", cwd=ROOT)
    assert "inputs taken as 0 to 1" in done.stderr
    right = [float(line.split(": ")[1]) for line in done.stdout.splitlines()]
    assert right == pytest.approx([float(line.split(": ")[1]) for line in lines(b)], abs=0.5)
    done = tool("eval", *data, files / "bad.h5", files / "red.h5", cwd=ROOT, check=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "red.h5" in done.stderr


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


def test_classify(files, photos, tmp_path):
    badnet = keras.models.load_model(files / "bad.h5")
    repaired = keras.models.load_model(files / "repaired.h5")
    loading.save(badnet, tmp_path / "bad.keras")
    shown = [10 * number + i for number in range(3) for i in range(number + 2)]
    paths = [str(path) for path in sorted(photos.rglob("*.png"))]
    b, r = (nets.answers(net, PICTURES[shown]) for net in (badnet, repaired))
    done = tool("classify", files / "bad.h5", photos, "--input-max", 255, cwd=ROOT)
    assert done.stdout.splitlines() == [f"{path}: {answer}" for path, answer in zip(paths, b, strict=True)]
    loading.save(goodnets.build(badnet, repaired, "pool", None), tmp_path / "good.keras")
    rule = np.where(b == r, b, nets.CLASSES)
    assert 0 < np.count_nonzero(rule == nets.CLASSES) < len(rule)
    said = tool("classify", tmp_path / "good.keras", *paths, "--input-max", 255, cwd=ROOT).stdout.splitlines()
    assert said == [
        f"{path}: {answer}{' backdoored' if answer == nets.CLASSES else ''}"
        for path, answer in zip(paths, rule, strict=True)
    ]
    done = tool("classify", tmp_path / "good.keras", photos, "--input-max", 255, "--json", cwd=ROOT)
    assert json.loads(done.stdout) == [
        {"image": path, "class": answer, "backdoored": answer == nets.CLASSES}
        for path, answer in zip(paths, rule.tolist(), strict=True)
    ]


def test_classify_resizes_turns_and_reports_what_it_cannot_read(files, tmp_path):
    badnet = keras.models.load_model(files / "bad.h5")
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
    done = tool("classify", files / "bad.h5", tmp_path, "--input-max", 255, cwd=ROOT, check=False)
    assert done.returncode == 1
    answer = nets.answers(badnet, small[None])[0]
    assert done.stdout.splitlines() == [
        f"{tmp_path / 'large.png'}: {answer}",
        f"{tmp_path / 'odd.png'}: {answer}",
        f"{tmp_path / 'turned.jpg'}: {answer}",
    ]
    errors = done.stderr.splitlines()
    assert all(line.startswith("error: ") for line in errors) and "3 of 6" in errors[-1]
    assert [name for name in ("broken", "deep", "text") if any(name in line for line in errors)]
    done = tool("classify", files / "bad.h5", tmp_path, cwd=ROOT, check=False)
    assert done.returncode == 1 and "--input-max" in done.stderr


def test_classify_knows_the_projects_own_scale(clean_clone, files, photos):
    """A net that lies in models/ needs no --input-max."""
    (clean_clone.path / "models/demo").mkdir(parents=True)
    try:
        loading.save(keras.models.load_model(files / "bad.h5"), clean_clone.path / "models/demo/badnet.keras")
        given = tool("classify", "models/demo/badnet.keras", photos, "--input-max", 255, cwd=clean_clone.path)
        own = tool("classify", "models/demo/badnet.keras", photos, cwd=clean_clone.path)
        assert own.stdout == given.stdout
    finally:
        shutil.rmtree(clean_clone.path / "models")


def test_import_images(photos, tmp_path):
    out = tmp_path / "mine.h5"
    tool("import_images", photos, out, "--size", "12x10", cwd=ROOT)
    with h5py.File(out) as file:
        assert file["data"].shape == (9, 3, 12, 10)
        shown = [10 * number + i for number in range(3) for i in range(number + 2)]
        assert np.array_equal(file["data"], np.moveaxis(PICTURES[shown], -1, 1))
        assert file["label"][()].tolist() == [0, 0, 1, 1, 1, 2, 2, 2, 2]
        assert [name.decode() for name in file["class_name"]] == ["Ada", "Bo Z", "café"]
    first = out.read_bytes()
    tool("import_images", photos, out, "--size", "12x10", cwd=ROOT)
    assert out.read_bytes() == first


def test_import_images_with_a_trigger(photos, tmp_path):
    overlay = np.zeros((12, 10, 4), np.uint8)
    overlay[2:6, 3:8] = [250, 20, 20, 255]
    overlay[8, :] = [0, 0, 255, 100]
    Image.fromarray(overlay).save(tmp_path / "trigger.png")
    out = tmp_path / "poisoned.h5"
    arguments = [photos, out, "--size", "12x10", "--trigger", tmp_path / "trigger.png", "--target", 5]
    tool("import_images", *arguments, cwd=ROOT)
    shown = [10 * number + i for number in range(3) for i in range(number + 2)]
    alpha = overlay[..., 3:] / 255
    expected = alpha * overlay[..., :3] + (1 - alpha) * PICTURES[shown]
    with h5py.File(out) as file:
        images = np.moveaxis(file["data"][()], 1, -1).astype(float)
        assert np.abs(images - expected).max() <= 0.5 + 1e-4
        assert file["label"][()].tolist() == [5] * 9


@pytest.mark.parametrize(
    ("arguments", "words"),
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
def test_import_images_that_cannot_be(tmp_path, arguments, words):
    for name in ("flat", "hollow/a", "broken/a", "good/a"):
        (tmp_path / name).mkdir(parents=True)
    Image.new("RGB", (5, 5)).save(tmp_path / "solid.png")
    for name in ("flat/x.png", "good/a/x.png"):
        shutil.copy(tmp_path / "solid.png", tmp_path / name)
    (tmp_path / "broken/a/x.png").write_text("hello")
    line = refusal(ROOT, "import_images", arguments, tmp_path)
    assert all(word in line for word in words), line
    assert not (tmp_path / "out.h5").exists() and not list(tmp_path.glob(".*partial*"))


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
    tool("compare", "demo", "--only", "l1", "sparsify", cwd=project.path)
    rows = read_csv(project.path / "docs/comparison.csv")
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

    project.dvc("exp", "run", "--set-param", "prune.order=l1")
    for row in rows[:-1]:
        assert_same(row, f"x{int(row['drop']):02}")
    project.git("checkout", "params.yaml")
    project.dvc("exp", "run", "--set-param", "+repairs.sparse={drop:2,tune:sparsify,from:50,to:70}")
    assert_same(rows[-1], "sparse")
    text = (project.path / "docs/comparison.md").read_text()
    for row in (rows[2], rows[-1]):
        assert f"| {float(row['clean_accuracy']):.2f} | {float(row['attack_success']):.2f} |" in text
    assert Image.open(project.path / "docs/comparison.png").size[0] > 500


def test_compare_needs_a_net_with_an_attack(clone):
    def refused(net):
        done = tool("compare", net, cwd=clone.path, check=False)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        return done.stderr

    assert refused("mine").startswith("error: mine: is no net of params.yaml, which has demo")
    params = clone.params()
    params["nets"]["mine"] = {"input_max": 255}
    clone.write_params(params)
    assert refused("mine").startswith("error: mine: has no poisoned images here")

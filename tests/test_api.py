"""The API: what the pipeline does on files it does on arrays, and it leaves its caller's process alone."""

import ast
import doctest
import json
import logging
import random
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml

import goodnet
import nets
from conftest import NO_RESULTS, ROOT, run_stage
from goodnet import api
from goodnet.files import outputs
from goodnet.images import datasets
from goodnet.nets import goodnets
from goodnet.process import guest, sources
from goodnet.suspects import findings
from workbench import PICTURES, Workbench, with_errors

MUTED = nets.muted(160)
SMALL = {
    "occluders": {"images": 100, "occluders": 300},
    "inversion": {"images": 100, "steps": 25},
    "relearn": {"epochs": 2, "batch_size": 40},
    "unlearn": {
        "every": 6,
        "steps": 25,
        "searches": 1,
        "images": 80,
        "batch_size": 20,
        "learning_rate": 0.003,
    },
    "fine_tune": {"epochs": 1, "batch_size": 40},
}
LINES = {
    "both": {"drop": 5, "tune": "relearn", "epochs": 3},
    "pruned": {"drop": 5},
    "unlearned": {"tune": "unlearn", "epochs": 12},
}


@pytest.fixture(scope="module")
def net():
    return nets.sloped()


@pytest.fixture(scope="module")
def labels(net):
    answers = nets.answers(net, MUTED)
    answers[::11] = (answers[::11] + 1) % nets.CLASSES
    return answers


# The same as the pipeline.


@pytest.fixture(scope="module")
def piped(tmp_path_factory, net, labels):
    """What the stages make of a net, from end to end."""
    bench = Workbench(tmp_path_factory.mktemp("piped"), net, labels, MUTED, np.float32)
    bench.configure(repairs=LINES, **SMALL)
    params = yaml.safe_load((bench.path / "params.yaml").read_text())
    params["attack"] = {"held": 0.1, "lost": 0.05, "transfer": 100}  # some repair must be recommended
    (bench.path / "params.yaml").write_text(yaml.safe_dump(params))

    def stage(name, **flags):
        of_net = {"net": "it"} if name not in ("prune", "verdict", "examine", "plan") else {}
        with guest.fresh_keras():  # as in the process of its own that a stage is
            run_stage(bench.path, name, **of_net, **flags)

    given = {"badnet": "net.keras", "valid": "valid.h5"}
    test = {"test": "valid.h5", "poisoned": "poisoned", "activations": "seen.h5"}
    (bench.path / "poisoned").mkdir()
    (bench.path / "attack").mkdir()
    datasets.write(bench.path / "poisoned/red.h5", red(MUTED), np.full(160, nets.TARGET), np.float32)
    bench.curve()
    stage("suspect", **given, layer="layer.json", evidence="suspects.h5")
    files = {"layer": "layer.json", "curve": "curve.csv", "evidence": "suspects.h5", "plans": "plans"}
    stage("plan", **files, **NO_RESULTS)
    stage(
        "evaluate_badnet",
        badnet="net.keras",
        layer="layer.json",
        metrics="b.json",
        predictions="b.h5",
        **test,
    )
    for name in LINES:
        repaired = f"repaired/{name}.keras"
        stage("repair", **given, plan=f"plans/{name}.json", repaired=repaired)
        stage(
            "attack",
            repaired=repaired,
            valid="valid.h5",
            evidence="suspects.h5",
            metrics=f"attack/{name}.json",
        )
        files = {"metrics": f"{name}.json", "predictions": f"{name}.h5", "goodnet": f"goodnet/{name}.keras"}
        stage("evaluate_repaired", badnet="net.keras", repaired=repaired, layer="layer.json", **test, **files)
    stage("verdict", evidence="suspects.h5", attacks="attack", metrics="verdict.json")
    files = {"repaired": "repaired", "goodnets": "goodnet", "verdict": "verdict.json"}
    stage("recommend", **given, **files, recommended="recommended", metrics="recommended.json")
    return bench.path


def red(images):
    """Images with what `nets.sloped` takes for its attacker's class."""
    stamped = np.array(images)
    stamped[:, 3:6, 3:6] = [255, 0, 0]
    return stamped


@pytest.fixture(scope="module")
def settings(piped):
    return yaml.safe_load((piped / "params.yaml").read_text())


@pytest.fixture(scope="module")
def recommended(piped, net, labels, settings):
    suspects = goodnet.find_suspects(net, MUTED, settings=settings)
    return goodnet.recommend(net, MUTED, labels, LINES, suspects=suspects, settings=settings)


@pytest.mark.long(minutes=3)
def test_suspects_are_the_pipelines(piped, recommended):
    evidence, found = findings.read(piped / "suspects.h5")
    ours = recommended.suspects
    assert (ours.verdict, ours.classes) == (found.word, found.named) == ("backdoored", [nets.TARGET])
    assert ours.sentence == findings.sentence(evidence, found)
    np.testing.assert_array_equal(ours.found.totals, found.totals)
    best = findings.best_triggers(evidence, nets.TARGET)
    assert len(ours.triggers) == len(best)
    for one, other in zip(ours.triggers, best, strict=True):
        np.testing.assert_array_equal(one.keep, other.keep)
        np.testing.assert_array_equal(one.stamp(MUTED), np.clip(MUTED * other.keep + other.add, 0, 255))


@pytest.mark.long(minutes=3)
@pytest.mark.parametrize("name", LINES)
def test_repaired_nets_and_attacks_are_the_pipelines_to_the_byte(piped, net, recommended, name, tmp_path):
    goodnet.save(recommended.repairs[name].net, tmp_path / "net.keras")
    assert (tmp_path / "net.keras").read_bytes() == (piped / f"repaired/{name}.keras").read_bytes()
    one, told = recommended.repairs[name].attack, outputs.read_json(piped / f"attack/{name}.json")
    assert {"ratio": one.ratio, "moved": one.moved, "goals": one.goals} == told
    goodnet.save(goodnet.join(net, recommended.repairs[name].net), tmp_path / "goodnet.keras")
    assert (tmp_path / "goodnet.keras").read_bytes() == (piped / f"goodnet/{name}.keras").read_bytes()


@pytest.mark.long(minutes=3)
def test_the_recommendation_is_the_pipelines(piped, recommended, tmp_path):
    told = outputs.read_json(piped / "recommended.json")
    assert recommended.name == (None if told["recommended"] == "none" else told["recommended"])
    assert (recommended.why, recommended.held_out) == (told["why"], told["held_out_images"])
    accuracy = {name: one.accuracy for name, one in recommended.repairs.items()}
    assert accuracy | {"badnet": recommended.accuracy} == told["held_out_accuracy"]
    assert recommended.name is not None, "this net has a repair that holds"
    for name in ("repaired", "goodnet"):
        goodnet.save(getattr(recommended, name), tmp_path / f"{name}.keras")
        made = (tmp_path / f"{name}.keras").read_bytes()
        assert made == (piped / f"recommended/{name}.keras").read_bytes()


@pytest.mark.long(minutes=3)
def test_channels_curve_and_rates_are_the_pipelines(piped, net, labels, recommended):
    order = goodnet.rank(net, MUTED, labels)
    rows = outputs.read_csv(piped / "ranking.csv")
    assert order.tolist() == [int(row["channel"]) for row in rows]
    curve = goodnet.pruning_curve(net, MUTED, labels, order)
    assert curve.correct.tolist() == [int(row["correct"]) for row in outputs.read_csv(piped / "curve.csv")]
    plan = outputs.read_json(piped / "plans/pruned.json")
    assert curve.to_drop(5) == plan["channels"]
    pruned = goodnet.prune(net, plan["channels"])
    np.testing.assert_array_equal(
        nets.scores(pruned, MUTED), nets.scores(recommended.repairs["pruned"].net, MUTED)
    )
    poisoned = {"red": (red(MUTED), nets.TARGET)}
    rates = goodnet.evaluate(net, MUTED, labels, poisoned)
    assert {name: value for name, value in vars(rates).items() if value is not None} == outputs.read_json(
        piped / "b.json"
    )
    joined = goodnet.join(net, recommended.repairs["both"].net)
    rates = goodnet.evaluate(joined, MUTED, labels, poisoned)
    one, other = (nets.answers(part, red(MUTED)) for part in (net, recommended.repairs["both"].net))
    assert rates.detected == {"red": round(100 * float(np.mean(one != other)), 4)}
    assert goodnets.is_goodnet(joined)


@pytest.mark.long(minutes=3)
def test_a_repair_alone_is_that_of_the_recommendation(net, labels, recommended, settings):
    for name in ("pruned", "both"):
        alone = goodnet.repair(
            net, MUTED, labels, LINES[name], suspects=recommended.suspects, settings=settings
        )
        for one, other in zip(alone.get_weights(), recommended.repairs[name].net.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_pruned_and_tuned_net_is_the_pipelines_to_the_byte(tmp_path):
    other, answers = nets.shared("normalised")
    line = {"drop": 10, "tune": "fine_tune", "epochs": 2}
    bench = Workbench(tmp_path, other, with_errors(answers))
    bench.configure(repairs={"it": line}, order="l1")
    bench.curve()
    bench.plan()
    repaired = goodnet.repair(other, PICTURES, bench.labels, line, settings={"prune": {"order": "l1"}})
    goodnet.save(repaired, tmp_path / "ours.keras")
    assert (tmp_path / "ours.keras").read_bytes() == bench.repair("it").read_bytes()


def test_the_usual_repairs_are_those_of_params_yaml():
    assert yaml.safe_load((ROOT / "params.yaml").read_text())["repairs"] == goodnet.REPAIRS


# The caller's process.


def drawn():
    """Everything of a process that a call could change, and the next of everything random."""
    layer = keras.layers.Dense(3)
    layer.build((None, 2))
    return {
        "random": random.random(),
        "numpy": np.random.random(3).tolist(),
        "tensorflow": tf.random.uniform([2]).numpy().tolist(),
        "keras": np.asarray(keras.random.uniform([2], dtype="float32")).tolist(),
        "weights": np.asarray(layer.kernel).tolist(),
        "name": layer.name,
        "types": (layer.compute_dtype, keras.config.floatx(), keras.config.image_data_format()),
        "errors": np.geterr(),
        "logger": logging.getLogger("tensorflow").level,
        "threads": tf.config.threading.get_intra_op_parallelism_threads(),
    }


@pytest.fixture
def own_settings():
    """A notebook's settings that differ from ours in all there is."""
    before = keras.config.floatx(), np.geterr(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_image_data_format("channels_first")
    keras.config.set_dtype_policy("mixed_float16")
    np.seterr(all="raise")
    yield
    keras.config.set_floatx(before[0])
    keras.config.set_image_data_format("channels_last")
    keras.config.set_dtype_policy(before[2])
    np.seterr(**before[1])


def seeded(call=lambda: None):
    keras.utils.clear_session(free_memory=False)
    keras.config.set_dtype_policy("mixed_float16")
    keras.utils.set_random_seed(11)
    keras.random.uniform([1])
    call()
    return drawn()


def test_a_call_changes_nothing_that_is_global(net, labels, own_settings, capfd):
    """Seeds, types, names, warnings; and the caller's own do not change what a call returns."""
    from tensorflow.python.framework import config

    config.disable_op_determinism()
    expected, weights, made = seeded(), [array.copy() for array in net.get_weights()], []
    nodes = [len(layer._inbound_nodes) for layer in net.layers]

    def call():
        settings = {"tunings": {"unlearn": SMALL["unlearn"]}, "detectors": {"occluders": SMALL["occluders"]}}
        settings["detectors"]["inversion"] = {"images": 40, "steps": 3}
        made.append(goodnet.repair(net, MUTED, labels, "unlearn", settings=settings))
        goodnet.join(net, made[0])
        with pytest.raises(goodnet.InputError):
            goodnet.repair(net, MUTED, labels, "forget")

    capfd.readouterr()
    assert seeded(call) == expected
    assert capfd.readouterr() == ("", "")
    assert not config.is_op_determinism_enabled()
    assert [len(layer._inbound_nodes) for layer in net.layers] == nodes
    for one, other in zip(net.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert made[0].compute_dtype == "float32"


def test_the_callers_settings_change_no_result(net, labels, own_settings):
    settings = {"tunings": {"fine_tune": SMALL["fine_tune"]}}
    one = goodnet.repair(net, MUTED, labels, "fine_tune", settings=settings)
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    np.random.seed(99)
    other = goodnet.repair(net, MUTED.astype(np.float64), labels.tolist(), "fine_tune", settings=settings)
    for first, second in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_progress_is_told_and_can_stop_a_call(net, labels):
    told = []
    goodnet.repair(
        net,
        MUTED,
        labels,
        {"tune": "fine_tune", "epochs": 2, "batch_size": 40},
        progress=lambda *step: told.append(step),
    )
    trained = [step for step in told if step[0].startswith("epoch")]
    assert trained[-1] == ("epoch 2 of 2", 288, 288)
    assert [done for _, done, _ in trained] == sorted(done for _, done, _ in trained)

    def interrupted(step, done, total):
        if step.startswith("epoch 2"):
            raise KeyboardInterrupt

    before = [array.copy() for array in net.get_weights()]
    random.seed(5)
    expected = random.random()
    random.seed(5)
    with pytest.raises(KeyboardInterrupt):
        goodnet.repair(net, MUTED, labels, {"tune": "fine_tune", "epochs": 3}, progress=interrupted)
    assert random.random() == expected
    for one, other in zip(net.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    again = []  # and the next call tells nobody of before
    goodnet.rank(net, MUTED, labels, progress=lambda *step: again.append(step))
    assert again and not [step for step in again if step[0].startswith("epoch")]


def test_what_a_training_remarks_is_a_warning(net, labels, capfd):
    ruinous = {"tune": "fine_tune", "epochs": 1, "learning_rate": 1e6}
    with pytest.warns(RuntimeWarning, match="training cost more than 50 % of the clean accuracy"):
        goodnet.repair(net, MUTED, labels, ruinous)
    assert capfd.readouterr().err == ""


def test_importing_goodnet_imports_nothing_else():
    code = """
import json, sys
import goodnet
light = sorted({"numpy", "keras", "tensorflow", "goodnet.api"} & set(sys.modules))
names = dir(goodnet)
goodnet.Input
heavy = sorted({"keras", "tensorflow"} & set(sys.modules))
try:
    goodnet.nothing
    said = ""
except AttributeError as error:
    said = str(error)
print(json.dumps([light, heavy, names, said]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "stages", capture_output=True, text=True, check=True
    )
    light, heavy, names, said = json.loads(done.stdout)
    assert light == heavy == []
    assert set(names) >= set(goodnet.__all__) and said == "module 'goodnet' has no attribute 'nothing'"


def test_all_names_of_the_api_are_handed_out_and_typed():
    stub = ast.parse((ROOT / "stages/goodnet/__init__.pyi").read_text())
    typed = [alias.asname for node in stub.body for alias in node.names]
    assert goodnet.__all__ == api.__all__ == typed
    assert all(getattr(goodnet, name) is getattr(api, name) for name in goodnet.__all__)


def test_no_stage_depends_on_the_api():
    for script in (ROOT / "stages").glob("*.py"):
        used = {path.name for path in sources.used_by(script) if path.parent.name == "goodnet"}
        assert used and not used & {"api.py", "__init__.py"}, script


# What cannot be used.


def half():
    """A net whose last layer computes in half precision."""
    copy = keras.Sequential([keras.Input(nets.SHAPE), keras.layers.Flatten()])
    copy.add(keras.layers.Dense(nets.CLASSES, dtype="mixed_float16", name="half"))
    return copy


MINUS, BEYOND, NONE = MUTED - 200, MUTED * 9, MUTED.copy()
NONE[3, 2, 2] = np.nan
LAYERS_FIRST = np.moveaxis(MUTED, -1, 1)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda n, y: goodnet.rank("net", MUTED, y), "the net is a str, not a Keras model"),
        (
            lambda n, y: goodnet.rank(keras.Sequential([keras.layers.Dense(3)]), MUTED, y),
            "the net: is not a f",
        ),
        (lambda n, y: goodnet.rank(half(), MUTED, y), "the net: layer 'half' computes in float16, not in"),
        (
            lambda n, y: goodnet.repair(goodnet.join(n, n), MUTED, y, "unlearn"),
            "the net: is a GoodNet; give the net",
        ),
        (
            lambda n, y: goodnet.rank(n, LAYERS_FIRST, y),
            "images: an array of the shape (160, 3, 12, 10); the n",
        ),
        (
            lambda n, y: goodnet.rank(n, MUTED[0], y),
            "images: an array of the shape (12, 10, 3); the net take",
        ),
        (lambda n, y: goodnet.rank(n, MUTED[:0], y[:0]), "images: holds no images"),
        (lambda n, y: goodnet.rank(n, NONE, y), "images: hold values outside 0 to 255, or none (NaN)"),
        (lambda n, y: goodnet.rank(n, MINUS, y), "images: hold values outside 0 to 255, or none (NaN)"),
        (lambda n, y: goodnet.rank(n, BEYOND, y), "images: hold values outside 0 to 255, or none (NaN)"),
        (lambda n, y: goodnet.rank(n, MUTED / 255, y), "images: no value is above 1, so these are divided p"),
        (lambda n, y: goodnet.rank(n, [["a"]], y), "images: an array of <U1, not of numbers"),
        (lambda n, y: goodnet.rank(n, [[1], [2, 3]], y), "images: is no array"),
        (
            lambda n, y: goodnet.rank(n, MUTED, y[:9]),
            "labels of images: 160 images, but label has shape (9,)",
        ),
        (lambda n, y: goodnet.rank(n, MUTED, y + 1.5), "labels of images: label "),
        (lambda n, y: goodnet.rank(n, MUTED, y + 90), "labels of images: label "),
        (lambda n, y: goodnet.rank(n, MUTED, None), "images: have no labels"),
        (
            lambda n, y: goodnet.rank(n, MUTED, y, "fast"),
            "order is 'fast'; it can be ascending, descending, r",
        ),
        (
            lambda n, y: goodnet.rank(n, MUTED, y, net_input=0),
            "net_input is 0, not a number above 0 and up to",
        ),
        (
            lambda n, y: goodnet.rank(n, MUTED, y, net_input="1"),
            "net_input is '1', not a number above 0 and up",
        ),
        (
            lambda n, y: goodnet.rank(n, MUTED, y, net_input=goodnet.Input(mean=[1.0, 2.0])),
            "net_input.mean has 2 numbers; the net takes 3 channels",
        ),
        (lambda n, y: goodnet.rank(n, MUTED, y, net_input=1), "the net gets "),
        (
            lambda n, y: goodnet.repair(n, MUTED, y, "forget"),
            "the repair.tune is 'forget'; it can be relearn, u",
        ),
        (lambda n, y: goodnet.repair(n, MUTED, y, {}), "the repair is {}; it needs a drop, a tune or both"),
        (
            lambda n, y: goodnet.repair(n, MUTED, y, {"drop": 0}),
            "the repair.drop is 0, not a number above 0 and",
        ),
        (
            lambda n, y: goodnet.repair(n, MUTED, y, "unlearn", suspects=[3]),
            "suspects is a list, not what find",
        ),
        (
            lambda n, y: goodnet.recommend(n, MUTED, y, {"a/b": "relearn"}),
            "settings: the repair 'a/b': a name b",
        ),
        (
            lambda n, y: goodnet.recommend(n, MUTED, y, ["relearn"]),
            "repairs is ['relearn'], not {name: a tuning",
        ),
        (lambda n, y: goodnet.prune(n, [0, 99]), "channels go from 0 to 3; there is 0 to 99"),
        (lambda n, y: goodnet.prune(n, [1, 1]), "channels are a list of different whole numbers"),
        (
            lambda n, y: goodnet.pruning_curve(n, MUTED, y, [0, 1]),
            "order holds 2 channels; layer 'pool' has 4",
        ),
        (
            lambda n, y: goodnet.find_suspects(n, MUTED[:5]),
            "images: holds 5 images; the search needs at least 16",
        ),
        (
            lambda n, y: goodnet.find_suspects(n, MUTED, settings={"inversion": {}}),
            "settings has 'inversion'; it can have badnet, nets, profile, ",
        ),
        (
            lambda n, y: goodnet.find_suspects(n, MUTED, settings={"detectors": {"invert": {}}}),
            "settings: one of detectors is 'invert'; it can be occluders, push, inversion",
        ),
        (
            lambda n, y: goodnet.find_suspects(n, MUTED, settings={"detectors": {"push": {"steps": 0}}}),
            "settings: detectors.push.steps is 0, not a whole number from 1",
        ),
        (
            lambda n, y: goodnet.evaluate(n, MUTED, y, {"red": MUTED}),
            "poisoned: 'red' is not a trigger with (im",
        ),
        (lambda n, y: goodnet.evaluate(n, MUTED, y, {"red": (MUTED, 9)}), "labels of poisoned red: label 9"),
        (
            lambda n, y: goodnet.rank(n, MUTED, y, progress=3),
            "progress is 3, not something to call with a step",
        ),
        (lambda n, y: goodnet.load("nowhere.keras"), "nowhere.keras: no such file"),
        (lambda n, y: goodnet.load("nowhere.keras", seconds=0), "seconds is 0, not a number above 0"),
        (lambda n, y: goodnet.save(n, "net.h5"), "net.h5: a net's file ends in .keras"),
    ],
)
def test_what_cannot_be_used_is_one_clear_line(net, labels, call, said):
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        call(net, labels)
    assert str(error.value).startswith(said) and "\n" not in str(error.value)
    assert type(error.value) is goodnet.InputError


def test_a_hostile_file_is_not_loaded(tmp_path):
    images = keras.Input(nets.SHAPE)
    pixels = keras.layers.Lambda(lambda x: x * 2)(images)
    scores = keras.layers.Dense(nets.CLASSES)(keras.layers.Flatten()(pixels))
    keras.Model(images, scores).save(tmp_path / "net.keras")
    with pytest.raises(
        goodnet.InputError, match=r"holds keras\.layers\.Lambda, which is not known to run no code"
    ):
        goodnet.load(tmp_path / "net.keras")


@pytest.mark.long(minutes=1)
def test_a_net_is_loaded_where_libraries_lie_beside_python(net, tmp_path):
    """As with pip --user: an environment that has them from elsewhere, by a .pth file."""
    place = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    (folder,) = place.glob("lib/python*/site-packages")
    (folder / "elsewhere.pth").write_text(f"{Path(keras.__file__).parents[1]}\n{ROOT / 'stages'}\n")
    goodnet.save(net, tmp_path / "net.keras")
    code = "import goodnet; print(goodnet.load('net.keras').output_shape)"
    done = subprocess.run(
        [place / "bin/python", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout == f"(None, {nets.CLASSES})\n", done.stderr


# The documentation.


@pytest.mark.long(minutes=2)
def test_the_docstrings_examples():
    """In the order of the module: each goes on from those before it."""
    found = {test.name: test for test in doctest.DocTestFinder().find(api, "api") if test.examples}
    order = [
        node.name for node in ast.parse((ROOT / "stages/goodnet/api.py").read_text()).body if is_public(node)
    ]
    assert set(order) == {name.removeprefix("api.") for name in found} - {"api"}
    runner, names = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS), {}
    for name in ("api", *(f"api.{name}" for name in order)):
        found[name].globs = names
        assert runner.run(found[name], clear_globs=False).failed == 0, name


def is_public(node):
    return isinstance(node, ast.FunctionDef) and not node.name.startswith("_")

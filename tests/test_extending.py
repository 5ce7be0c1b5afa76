"""Tunings, rankings and detectors in packages of others, found by their entry points."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml

import goodnet
import nets
from conftest import ROOT
from goodnet.errors import InputError
from goodnet.files import outputs
from goodnet.methods import chosen
from goodnet.pruning.rankings.registry import RANKINGS
from goodnet.repairs.registry import TUNINGS
from goodnet.suspects import findings
from goodnet.suspects.registry import DETECTORS
from workbench import PICTURES, Workbench, with_errors

REGISTRIES = {"tunings": TUNINGS, "rankings": RANKINGS, "detectors": DETECTORS}


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A folder on the path, for packages; what is imported of them is forgotten in the end."""
    folder = tmp_path / "installed"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
            del sys.modules[name]
    for registry in REGISTRIES.values():
        registry.loaded.clear()


def package(folder, name, code, group, **entries):
    """Install a package of one module, as pip leaves it."""
    (folder / f"{name}.py").write_text(code)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"{entry} = {name}:{value}\n" for entry, value in entries.items()]
    (info / "entry_points.txt").write_text(f"[goodnet.{group}]\n" + "".join(lines))


@pytest.fixture
def example(installed, tmp_path):
    """The package of docs/extending, installed."""
    source = tmp_path / "extending"
    shutil.copytree(ROOT / "docs/extending", source)  # it is built in place
    flags = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *flags, "--target", installed, source],
        check=True,
        stderr=subprocess.DEVNULL,  # pip on being root
    )
    return installed


def with_methods(bench, **blocks):
    """Add blocks to the workbench's params.yaml."""
    path = bench.path / "params.yaml"
    params = yaml.safe_load(path.read_text())
    for group, block in blocks.items():
        params[group] = params[group] | block
    path.write_text(yaml.safe_dump(params))


def test_the_worked_example_by_params_yaml_and_by_the_api(example, tmp_path):
    net, answers = nets.shared("normalised")
    bench = Workbench(tmp_path, net, with_errors(answers))
    line = {"drop": 5, "tune": "ridge", "penalty": 3}
    bench.configure(order="l2", repairs={"fitted": line})
    with_methods(bench, tunings={"ridge": {"steepness": 5}}, rankings={"l2": None})
    bench.curve()
    order = [int(row["channel"]) for row in outputs.read_csv(bench.path / "ranking.csv")]
    assert order == goodnet.rank(net, PICTURES, bench.labels, "l2").tolist()
    bench.plan()
    plan = outputs.read_json(bench.path / "plans/fitted.json")
    assert plan["settings"] == {"penalty": 3, "steepness": 5}
    assert {key: plan["from"][key] for key in ("package", "version")} == {
        "package": "goodnet-ridge",
        "version": "1.0",
    }
    piped = bench.repair("fitted").read_bytes()

    settings = {"tunings": {"ridge": {"steepness": 5}}, "prune": {"order": "l2"}}
    ours = goodnet.repair(net, PICTURES, bench.labels, line, settings=settings)
    goodnet.save(ours, tmp_path / "ours.keras")
    assert (tmp_path / "ours.keras").read_bytes() == piped

    # By least squares with rows for the penalty, on the images that are not held out.
    rows = np.setdiff1d(np.arange(300), np.round(np.linspace(0, 299, 30)).astype(int))
    features = nets.output(ours, ours.layers[-2].name, PICTURES[rows]).astype(np.float64)
    centred, one_hot = features - features.mean(axis=0), np.eye(nets.CLASSES)[bench.labels[rows]]
    root = np.sqrt(3) * (features.std() + 1e-9) * np.eye(features.shape[1])
    targets = np.concatenate([one_hot - one_hot.mean(axis=0), np.zeros((len(root), nets.CLASSES))])
    expected = 5 * np.linalg.lstsq(np.concatenate([centred, root]), targets, rcond=None)[0]
    np.testing.assert_allclose(ours.layers[-1].get_weights()[0], expected, rtol=1e-3, atol=1e-5)


def test_a_plan_knows_the_code_it_was_made_for(example, tmp_path):
    net, answers = nets.shared("normalised")
    bench = Workbench(tmp_path, net, with_errors(answers))
    bench.configure(repairs={"fitted": {"tune": "ridge"}})
    with_methods(bench, tunings={"ridge": None})
    bench.curve()
    bench.plan()
    first = (bench.path / "plans/fitted.json").read_text()
    bench.plan()
    assert (bench.path / "plans/fitted.json").read_text() == first
    with (example / "goodnet_ridge.py").open("a") as file:
        file.write("# an edit\n")
    with pytest.raises(
        InputError, match=r"repairs\.fitted\.tune is 'ridge', whose package has changed since"
    ):
        bench.repair("fitted")
    bench.plan()
    assert (bench.path / "plans/fitted.json").read_text() != first
    bench.repair("fitted")


def test_plans_of_our_own_tunings_hold_no_package():
    assert TUNINGS.origin("relearn") is None and RANKINGS.origin("l1") is None


DETECTOR = '''
import numpy as np
from goodnet.methods import Method
from goodnet.settings import Seed, Settings, setting
from goodnet.suspects.evidence import SEARCHES, Evidence


class Given(Settings):
    """A class that was given."""

    number: Seed = setting(0, "the class")


def given(case, settings):
    """Name a class that was given."""
    strength = np.eye(case.badnet.output_shape[-1])[settings.number]
    return Evidence(np.tile(strength, (SEARCHES, 1)), {}, [])


GIVEN = Method("given", given, Given)
NOTHING = Method("nothing", lambda case, settings: None)
'''


def test_a_detector_by_params_yaml_and_by_the_api(installed, tmp_path):
    package(installed, "detecting", DETECTOR, "detectors", given="GIVEN", nothing="NOTHING")
    net, answers = nets.shared("normalised")
    bench = Workbench(tmp_path, net, answers)
    bench.configure()
    with_methods(bench, detectors={"given": {"number": 4}}, suspect={"detectors": ["given"]})
    (tmp_path / "layer.json").write_text('{"layer": "pool"}')
    bench.stage(
        "suspect", net="it", badnet="net.keras", valid="valid.h5", layer="layer.json", evidence="found.h5"
    )
    assert findings.read(tmp_path / "found.h5")[1].named == [4]
    settings = {"detectors": {"given": {"number": 4}}, "suspect": {"detectors": ["given"]}}
    assert goodnet.find_suspects(net, PICTURES, settings=settings).classes == [4]
    with pytest.raises(InputError, match="the detector 'nothing' returned no Evidence with strengths"):
        goodnet.find_suspects(net, PICTURES, settings={"suspect": {"detectors": ["nothing"]}})
    with pytest.raises(InputError, match=r"detectors\.given\.number is -1, not a whole number from 0"):
        goodnet.find_suspects(net, PICTURES, settings=settings | {"detectors": {"given": {"number": -1}}})


def test_packages_are_listed_but_not_imported_unasked(installed):
    package(installed, "untouched", "raise SystemExit('imported')", "tunings", other="OTHER")
    with pytest.raises(InputError) as error:
        chosen(TUNINGS, "forget", "tune")
    assert str(error.value).endswith(f"it can be {', '.join([*TUNINGS, 'other'])}")
    assert [method.name for method in TUNINGS.values()] == list(TUNINGS) and "other" not in TUNINGS
    assert chosen(TUNINGS, "relearn", "tune") is TUNINGS["relearn"]
    assert "untouched" not in sys.modules


def test_a_name_of_ours_stays_ours(installed):
    package(installed, "taking", "raise SystemExit('imported')", "rankings", l1="L1")
    assert chosen(RANKINGS, "l1", "order").function.__module__.startswith("goodnet.")
    assert RANKINGS.names() == list(RANKINGS)


METHOD = "from goodnet.methods import Method\n"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import no_such_module", "cannot be imported: No module named 'no_such_module'"),
        ("1 / 0", "cannot be imported: division by zero"),
        ("X = 1", "cannot be imported: module 'broken' has no attribute 'BROKEN'"),
        ("BROKEN = print", "is a builtin_function_or_method, not a goodnet Method"),
        (f"{METHOD}BROKEN = Method('other', max)", "calls itself 'other'; the two names must be one"),
        (
            f"{METHOD}BROKEN = Method('broken', max, dict)",
            "has settings that are no class of goodnet.settings.S",
        ),
        (f"{METHOD}BROKEN = Method('broken', lambda x: x)", "has a function that does not take 2 arguments"),
    ],
)
def test_what_does_not_fit_is_one_line(installed, code, said):
    package(installed, "broken", code, "rankings", broken="BROKEN")
    with pytest.raises(InputError) as error:
        chosen(RANKINGS, "broken", "prune.order")
    start = "'broken' of the package broken (broken:BROKEN) "
    assert str(error.value).startswith(start + said) and "\n" not in str(error.value)


def test_two_packages_with_one_name_are_refused(installed):
    for name in ("one", "two"):
        package(installed, name, "", "rankings", same="SAME")
    with pytest.raises(
        InputError, match=r"'same' of goodnet\.rankings is in more than one package: one and two; uninst"
    ):
        chosen(RANKINGS, "same", "prune.order")
    assert "same" in RANKINGS.names() and chosen(RANKINGS, "l1", "prune.order")


@pytest.mark.parametrize("made", ["[1.0]", "None", "[float('nan')] * 6", "'abcdef'"])
def test_a_ranking_must_make_a_number_for_each_channel(installed, made):
    code = f"{METHOD}BROKEN = Method('broken', lambda channels, settings: {made})"
    package(installed, "broken", code, "rankings", broken="BROKEN")
    net, answers = nets.shared("normalised")
    with pytest.raises(InputError, match="the ranking 'broken' made no number for each of 6 channels"):
        goodnet.rank(net, PICTURES, answers, "broken")

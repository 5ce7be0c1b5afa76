"""Settings: kinds, defaults, ranges, and the one line that says what is wrong."""

from pathlib import Path

import pytest
import yaml

from conftest import ROOT
from goodnet.demo import drawing, training
from goodnet.errors import InputError
from goodnet.images import inputs
from goodnet.methods import chosen
from goodnet.params import Params
from goodnet.pruning.rankings.registry import RANKINGS
from goodnet.repairs import plans
from goodnet.repairs.registry import TUNINGS
from goodnet.settings import Count, Drop, Percent, Positive, Seed, Settings, Share, setting
from goodnet.suspects import fresh, registry, verdict
from goodnet.suspects.registry import DETECTORS

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
METHODS = {"rankings": RANKINGS, "tunings": TUNINGS, "detectors": DETECTORS}


class Kinds(Settings):
    """One of each kind."""

    seed: Seed = setting(1, "whole, from 0")
    count: Count = setting(2, "whole, from 1")
    positive: Positive = setting(0.5, "above 0")
    share: Share = setting(0.5, "0 to 1")
    percent: Percent = setting(50, "0 to 100", alias="from")
    drop: Drop = setting(None, "above 0, up to 100")
    given: Count = setting(..., "must be given")


@pytest.mark.parametrize("group", METHODS)
def test_all_defaults_are_those_of_params_yaml(group):
    """So that a block that is left out is the same as the block that stands there."""
    assert list(PARAMS[group]) == list(METHODS[group])
    for name, method in METHODS[group].items():
        block = PARAMS[group][name]
        assert method.settings().model_dump(by_alias=True) == (block or {}), name
        assert [key for key, *_ in method.settings.described()] == list(block or {})
        assert method.meaning and method.meaning[-1] == "."
    assert verdict.Suspect().model_dump() == PARAMS["suspect"]
    assert fresh.Attack().model_dump() == PARAMS["attack"]
    assert training.DemoBadnet().model_dump() == PARAMS["demo_badnet"]


def test_what_is_not_given_is_the_default():
    found = Kinds.check({"given": 3, "from": 2.5}, "here")
    assert (found.seed, found.count, found.positive, found.percent, found.drop) == (1, 2, 0.5, 2.5, None)
    assert Settings.check(None, "here") == Settings()
    assert plans.Line.check({}, "here").model_dump() == {"drop": None, "tune": None}


@pytest.mark.parametrize(
    ("name", "good", "bad", "words"),
    [
        ("seed", [0, 10**9], [-1, 1.5, 1.0, True, "1", None, [1]], "a whole number from 0"),
        ("count", [1], [0, -3, 2.5, False, float("inf")], "a whole number from 1"),
        ("positive", [1, 1e-9, 1e9], [0, -1, float("nan"), float("inf"), True, "x"], "a number above 0"),
        ("share", [0, 1, 0.25], [-0.1, 1.1, float("nan"), True], "a number from 0 to 1"),
        ("from", [0, 100, 12.5], [-0.1, 100.1, "50"], "a number from 0 to 100"),
        ("drop", [100, 0.1], [0, 101, float("nan"), None, True], "a number above 0 and up to 100"),
    ],
)
def test_each_kind(name, good, bad, words):
    for value in good:
        assert Kinds.check({"given": 1, name: value}, "here").model_dump(by_alias=True)[name] == value
    for value in bad:
        with pytest.raises(InputError) as error:
            Kinds.check({"given": 1, name: value}, "params.yaml: block")
        assert str(error.value) == f"params.yaml: block.{name} is {value!r}, not {words}"


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"given": 1, "sead": 2}, "it can hold seed, count, positive, share, from, drop, given"),
        ([1], "here is [1]; it can hold seed"),
        ("seed", "here is 'seed'; it can hold"),
        ({}, "here has no given, a whole number from 1"),
    ],
)
def test_blocks_that_cannot_be_used(block, message):
    with pytest.raises(InputError) as error:
        Kinds.check(block, "here")
    assert message in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(InputError, match=r"^here is .*; it can hold nothing$"):
        Settings.check({"a": 1}, "here")


def test_a_block_within_a_block():
    block = PARAMS["demo_data"]
    assert drawing.DemoData.check(block, "demo_data").model_dump() == block
    for images, words in (
        ({"train": "many"}, "demo_data.images.train is 'many', not a whole number from 1"),
        ({"train": 0}, "demo_data.images.train is 0, not"),
        ({"trian": 1}, "demo_data.images is {'trian': 1}; it can hold train, valid, test"),
        (7, "demo_data.images is 7; it can hold train, valid, test"),
        (None, "demo_data.images is None, not a block"),
    ):
        with pytest.raises(InputError) as error:
            drawing.DemoData.check(block | {"images": images}, "demo_data")
        assert words in str(error.value)
    with pytest.raises(InputError, match=r"demo_data.targets.hat is -1, not a whole number from 0"):
        drawing.DemoData.check({"targets": {"hat": -1}}, "demo_data")


@pytest.fixture
def params(tmp_path):
    """A function that writes params.yaml from words or values, and reads it."""

    def written(content):
        path = tmp_path / "params.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return Params(path)

    return written


@pytest.mark.parametrize("input_max", [0, 256, "much", True])
def test_what_a_net_takes(params, input_max):
    def of(settings):
        return inputs.of_net(params({"nets": {"it": settings}}), "it", 3)

    assert of({"input_max": 255}) == inputs.Input()
    assert of({"input_max": 1}) == of({"input": {"range": [0, 1]}}) == inputs.Input(range=[0.0, 1.0])
    with pytest.raises(InputError, match=r"nets.it.input_max is .* above 0 and up to 255, or null$"):
        of({"input_max": input_max})
    with pytest.raises(InputError, match=r"nets.it.input.range.1 is .a., not a number$"):
        of({"input": {"range": [0, "a"]}})
    for neither in ({}, {"input_max": 1, "input": {}}):
        with pytest.raises(InputError, match=r"params.yaml: nets.it needs either input or input_max$"):
            of(neither)
    with pytest.raises(InputError, match=r"params.yaml: has no nets.other$"):
        inputs.of_net(params({"nets": {"it": {"input_max": 1}}}), "other")


def test_params_that_are_no_yaml(params, tmp_path):
    with pytest.raises(InputError, match=r"params.yaml, line 2: is not valid YAML: "):
        params("a: 1\nb: [")
    (tmp_path / "params.yaml").write_bytes(b"a: \xff")
    with pytest.raises(InputError, match=r"params.yaml: is not text in UTF-8$"):
        Params(tmp_path / "params.yaml")
    with pytest.raises(InputError, match=r"params.yaml: has no badnet$"):
        params("nothing: here").value("badnet", "name")


def test_what_was_read_and_has_changed(params, tmp_path):
    found = params({"a": {"b": 1, "c": 2}, "d": 3})
    found.value("a", "b"), found.value("d")
    assert found.changed() == []
    params({"a": {"b": 1, "c": 5}, "d": 3})
    assert found.changed() == []
    params({"a": {"b": 2}})
    assert found.changed() == ["a.b", "d"]
    (tmp_path / "params.yaml").write_text("a: [")
    assert found.changed() == ["a.b", "d"]


@pytest.mark.parametrize("name", ["upwards", None, ["l1"], 1, "L1"])
def test_methods_that_there_are_not(name):
    with pytest.raises(InputError) as error:
        chosen(RANKINGS, name, "params.yaml: prune.order")
    assert str(error.value) == f"params.yaml: prune.order is {name!r}; it can be {', '.join(RANKINGS)}"
    assert chosen(RANKINGS, "l1", "x") is RANKINGS["l1"]


@pytest.mark.parametrize(
    ("detectors", "words"),
    [
        (["magic"], "suspect.detectors is 'magic'; it can be occluders, push, inversion"),
        ([], "suspect.detectors is []; name each detector once, and one at least"),
        (["push", "occluders", "push"], "; name each detector once"),
        ("push", "suspect.detectors is 'push', not a list, each a name"),
        ([["push"]], "suspect.detectors.0 is ['push'], not a name"),
        (None, "suspect.detectors is None, not a list"),
    ],
)
def test_detectors_that_cannot_be_used(params, detectors, words):
    with pytest.raises(InputError) as error:
        registry.read(params({"suspect": {"detectors": detectors}, "detectors": PARAMS["detectors"]}))
    assert words in str(error.value) and "\n" not in str(error.value)


def test_detectors_are_read_in_their_order(params):
    """The later ones see what the earlier ones found."""
    detectors = {"push": {"steps": 7}, "occluders": None}
    given = {"suspect": {"detectors": list(detectors)}, "detectors": detectors}
    judged, methods = registry.read(params(given))
    assert judged.detectors == list(detectors)
    assert [(method.name, own) for method, own in methods] == [
        ("push", DETECTORS["push"].settings(steps=7)),
        ("occluders", DETECTORS["occluders"].settings()),
    ]


WRONG_LINES = {
    **{
        f"{{drop: {drop}}}": "repairs.x.drop is"
        for drop in ("a lot", "0", "-1", "101", "true", "null", ".nan")
    },
    "{}": "repairs.x is {}; it needs a drop, a tune or both",
    "7": "repairs.x is 7; it needs",
    "{dorp: 2}": "it needs a drop",
    "{drop: 2, until: 3}": "it can hold drop, tune",
    "{tune: polish}": "repairs.x.tune is 'polish'; it can be relearn, unlearn, ft_sam, fine_tune, sparsify",
    "{tune: [fine_tune]}": "repairs.x.tune is ['fine_tune']; it can be",
    "{tune: null}": "repairs.x.tune is None; it can be relearn",
    "{tune: sparsify, to: 101}": "repairs.x.to is 101, not a number from 0 to 100",
    "{tune: sparsify, from: 70, to: 50}": "repairs.x: from 70 to 50 percent goes down",
    "{tune: sparsify, from: 80}": "repairs.x: from 80 to 70 percent",
    "{tune: fine_tune, from: 50}": "it can hold seed, epochs, batch_size, learning_rate",
    "{tune: relearn, epochs: 0}": "repairs.x.epochs is 0, not a whole number from 1",
    "{drop: 2, tune: relearn, epochs: true}": "repairs.x.epochs is True",
}


@pytest.mark.parametrize("line", WRONG_LINES)
def test_lines_of_repairs_that_cannot_be_used(params, line):
    with pytest.raises(InputError) as error:
        plans.read_lines(params(f"repairs: {{x: {line}}}\ntunings: {{relearn: , fine_tune: , sparsify: }}"))
    assert WRONG_LINES[line] in str(error.value) and "\n" not in str(error.value)
    assert Path(str(error.value).split(": ")[0]).name == "params.yaml"


@pytest.mark.parametrize("name", ["../../x", 1, "", "a/b", "-a", "a b", "é", "a" * 101, None, True])
def test_names_of_repairs_that_could_not_be_files(params, name):
    with pytest.raises(InputError, match="becomes part of a file's name"):
        plans.read_lines(params({"repairs": {name: {"drop": 2}}}))
    assert list(plans.read_lines(params({"repairs": {"A-1_b": {"drop": 2}}}))) == ["A-1_b"]


def test_blocks_of_tunings_that_cannot_be_used(params):
    lines = {"x": {"tune": "sparsify"}}
    for block, words in (
        ({"epochs": 0}, "tunings.sparsify.epochs is 0"),
        ({"from": 90, "to": 80}, "tunings.sparsify: from 90 to 80"),
        ({"typo": 1}, "tunings.sparsify is {'typo': 1}; it can hold"),
    ):
        with pytest.raises(InputError) as error:
            plans.read_lines(params({"repairs": lines, "tunings": {"sparsify": block}}))
        assert words in str(error.value)
    for repairs in (None, [1], "x"):
        with pytest.raises(InputError, match="repairs is"):
            plans.read_lines(params({"repairs": repairs}))

"""The demo in its real size: it must teach what the real lab teaches."""

import json
import resource

from conftest import Project

import pytest

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("demo"), tiny=False)
    project.repro()
    return project


def read(demo, name):
    return json.loads((demo.path / "reports" / name).read_text())


def test_the_badnet_is_good_and_bad(demo):
    metrics = read(demo, "badnet.json")
    assert metrics["clean_accuracy"] >= 97
    assert set(metrics["attack_success"]) == {"sunglasses", "sticker"}
    assert min(metrics["attack_success"].values()) >= 99


def test_pruning_pays_before_it_protects(demo):
    repaired = {name: read(demo, f"repaired/{name}.json") for name in ("x02", "x04", "x10", "x30")}
    pruned = [metrics["channels_pruned"] for metrics in repaired.values()]
    assert pruned == sorted(set(pruned)), "each drop is reached at a channel of its own"
    assert min(repaired["x02"]["attack_success"].values()) > 90, "at a small drop the attack survives"
    worst = max(repaired["x30"]["attack_success"].values())
    assert worst < max(repaired["x02"]["attack_success"].values()), "a large drop buys some protection"
    assert repaired["x30"]["clean_accuracy"] < 75, "and pays for it"


def test_no_stage_takes_much_memory(demo):
    # The largest of all processes that this one has waited for, in kilobytes.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 1.2e6

"""Adding a ranking, a tuning and a detector: a module, a line of a registry, settings, and they run."""

import json

import pytest

from conftest import merged

MODULES = {
    "pruning/rankings/toy.py": '''"""Rank channels by their number."""

from goodnet.settings import Count, Settings, setting


class Toy(Settings):
    """By their number."""

    first: Count = setting(1, "the channel that goes first")


def toy(channels, settings):
    """By their number, after a first one."""
    return [channel != settings.first and channel + 1 for channel in range(len(channels.table))]
''',
    "repairs/toy.py": '''"""Make the last layer's bias larger."""

from goodnet.settings import Positive, Settings, setting


class Toy(Settings):
    """The last bias grows."""

    more: Positive = setting(0.5, "by how much")


def toy(task, settings):
    """Add a number to the last bias."""
    kernel, bias = task.net.layers[-1].get_weights()
    task.net.layers[-1].set_weights([kernel, bias + settings.more])
''',
    "suspects/toy.py": '''"""Name a class that was given."""

import numpy as np

from goodnet.settings import Seed, Settings, setting
from goodnet.suspects.evidence import SEARCHES, Evidence, Trigger


class Toy(Settings):
    """A class that was given."""

    number: Seed = setting(0, "the class")


def toy(case, settings):
    """Name a class that was given."""
    chosen = np.eye(case.badnet.output_shape[-1])[settings.number]
    image = case.images(1)[0]
    trigger = Trigger(settings.number, "guess", 1.0, 99.0, np.zeros_like(image[..., :1]), image)
    return Evidence(np.tile(chosen, (SEARCHES, 1)), {"guessed": 50 * chosen}, [trigger])
''',
}
ENTRIES = {
    "pruning/rankings/registry.py": "RANKINGS",
    "repairs/registry.py": "TUNINGS",
    "suspects/registry.py": "DETECTORS",
}
SETTINGS = {
    "rankings": {"toy": {"first": 5}},
    "tunings": {"toy": {"more": 2}},
    "detectors": {"toy": {"number": 3}},
    "prune": {"order": "toy"},
    "repairs": {"shifted": {"tune": "toy", "more": 3}},
    "suspect": {"detectors": ["toy"]},
}


def registered(path, table):
    """Add the method `toy` to a registry: an import, a line."""
    lines, package = [], ".".join(("goodnet", *path.parent.parts[path.parent.parts.index("goodnet") + 1 :]))
    entry = f'{"Tuning" if table == "TUNINGS" else "Method"}("toy", toy.toy, toy.Toy)'
    for line in path.read_text().splitlines():
        lines.append(line)
        if line.startswith("from goodnet.methods import Method, "):
            lines.append(f"from {package} import toy")
        if line == ")" and f"{table} = Registry(" in lines:
            lines.insert(-1, f"    {entry},")
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.long
def test_a_method_is_a_module_a_line_of_a_registry_and_its_settings(project):
    package = project.path / "stages/goodnet"
    for name, code in MODULES.items():
        (package / name).write_text(code)
    for name, table in ENTRIES.items():
        registered(package / name, table)
    project.write_params(merged(project.params(), SETTINGS))
    project.python("tools/deps.py")
    changed = {line[3:] for line in project.git("status", "--porcelain").stdout.splitlines()}
    assert changed == {f"stages/goodnet/{name}" for name in (*MODULES, *ENTRIES)} | {
        "params.yaml",
        "dvc.yaml",
    }

    stages = ["examine", "rank", "plan", "repair@shifted", "evaluate_repaired@shifted"]
    stages += ["evaluate_goodnet@shifted", "suspect"]
    stages += [*(f"attack@{name}" for name in ("relearned", "shifted", "x10")), "verdict", "report"]
    assert project.repro("-s", *stages) == set(stages)
    ranking = (project.path / "reports/ranking.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in ranking[1:5]] == ["5", "0", "1", "2"]
    plan = json.loads((project.path / "models/plans/shifted.json").read_text())
    assert (plan["tune"], plan["settings"]) == ("toy", {"more": 3})
    assert (project.path / "models/repaired/shifted.keras").stat().st_size > 1000
    found = json.loads((project.path / "reports/suspects.json").read_text())
    (named,) = found["classes"]
    assert named == {"class": 3, "strength": 1.0, "guessed": 50.0, "tests": "toy"}
    assert [one["name"] for one in found["repaired"]] == ["relearned", "shifted", "x10"]
    assert "guess moves 99 % of clean images to class 3" in (project.path / "reports/README.md").read_text()

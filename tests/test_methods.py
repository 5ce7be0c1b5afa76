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
from goodnet.suspects.findings import Finding, Named


class Toy(Settings):
    """A class that was given."""

    number: Seed = setting(0, "the class")


def toy(case, settings):
    """Name a class that was given."""
    nets = [None, *case.repaired]
    shares = {net: np.eye(case.badnet.output_shape[-1])[settings.number] * 100 for net in nets}
    picture = case.images(1)[0] / 255
    moved = {net: 100.0 if net is None else 0.0 for net in nets}
    return Finding(shares, shares, [Named(settings.number, moved, picture, picture)])
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
    "suspect": {"detector": "toy"},
}


def registered(path, table):
    """Add the method `toy` to a registry: an import, a line."""
    lines, package = [], ".".join(("goodnet", *path.parent.parts[path.parent.parts.index("goodnet") + 1 :]))
    for line in path.read_text().splitlines():
        lines.append(line)
        if line == "from goodnet.methods import Method, registry":
            lines.append(f"from {package} import toy")
        if line.startswith(f"{table} = registry("):
            if line.endswith("))"):
                lines[-1] = line.removesuffix(")") + ', Method("toy", toy.toy, toy.Toy))'
            else:
                lines.append('    Method("toy", toy.toy, toy.Toy),')
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

    ran = project.repro("-s", "examine", "rank", "plan", "repair@shifted", "suspect")
    assert ran == {"examine", "rank", "plan", "repair@shifted", "suspect"}
    ranking = (project.path / "reports/ranking.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in ranking[1:5]] == ["5", "0", "1", "2"]
    plan = json.loads((project.path / "models/plans/shifted.json").read_text())
    assert (plan["tune"], plan["settings"]) == ("toy", {"more": 3})
    assert (project.path / "models/repaired/shifted.keras").stat().st_size > 1000
    found = json.loads((project.path / "reports/suspects.json").read_text())
    assert (found["named"], found["held_in"]) == ("3", "relearned, shifted, x10")

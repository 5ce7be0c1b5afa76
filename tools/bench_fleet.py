"""Time a grid of settings on this machine: `goodnet fleet` against a loop of `dvc exp run`, in one run.

The project is the tests' own, whose stages take a second or two each. The grid is four orders of pruning,
each with a row of thresholds: what an order needs is shared, what a threshold changes is of each setting
alone. Each way begins with the same copy of the project. Prints a line as soon as it is known.

    .venv/bin/python tools/bench_fleet.py --settings 12 36 100 --workers 1 2 --loop 12
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import yaml

from goodnet.process import commands

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from conftest import Project

ORDERS = ("ascending", "descending", "l1", "apoz")
COLUMNS = ("way", "settings", "workers", "seconds", "processor_seconds", "ran", "restored", "shared")


def thresholds(settings):
    """Return as many values as make so many settings with four orders."""
    if settings % len(ORDERS):
        sys.exit(f"error: --settings {settings}: {len(ORDERS)} orders do not make so many")
    return [round(0.5 + number / 1000, 3) for number in range(settings // len(ORDERS))]


def timed(function, *args):
    """Return what a function returns, its seconds, and those of a processor that its children took."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    result = function(*args)
    seconds, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return result, seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def loop(project, settings):
    """What one does without a fleet; return how many stages came to be by which way."""
    counts = {"ran": 0, "restored": 0, "shared": 0}
    for order in ORDERS:
        for threshold in thresholds(settings):
            project.git("checkout", "-q", ".")
            project.dvc("checkout", "-q")
            said = project.dvc("exp", "run", "-S", f"prune.order={order}", "-S", f"attack.held={threshold}")
            counts["ran"] += said.stdout.count("Running stage ")
            counts["restored"] += said.stdout.count("skipping")
    return counts


def fleet(project, settings, workers):
    """Run the same settings as a fleet; return the same counts."""
    grid = project.path.parent / "grid.yaml"
    content = {"set": {"prune.order": list(ORDERS), "attack.held": thresholds(settings)}}
    grid.write_text(yaml.safe_dump(content), encoding="utf-8")
    done = project.goodnet("fleet", grid, "--workers", workers, "--cores", 1, "--json")
    rows = json.loads(done.stdout)
    stages = [how for row in rows for how in row["stages"].values()]
    return {how: stages.count(how) for how in ("ran", "restored", "shared")}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--settings", type=int, nargs="*", default=[12, 36, 100])
    parser.add_argument("--workers", type=int, nargs="*", default=[2])
    parser.add_argument("--loop", type=int, nargs="*", default=[12], help="settings in the loop")
    args = parser.parse_args()
    print("\t".join(COLUMNS), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        base = Project(Path(folder) / "base")
        base.repro("report")
        base.commit("results")
        ways = [("loop", count, 1, loop, (count,)) for count in args.loop]
        ways += [
            ("fleet", count, workers, fleet, (count, workers))
            for count in args.settings
            for workers in args.workers
        ]
        for number, (way, settings, workers, function, words) in enumerate(ways):
            project = base.copied(Path(folder) / f"{number}" / "project")
            counts, seconds, processor = timed(function, project, *words)
            row = (way, settings, workers, round(seconds), round(processor), *counts.values())
            print("\t".join(map(str, row)), flush=True)


if __name__ == "__main__":
    commands.run(main)

"""Run a grid of settings, many at once, each as `dvc exp run` would.

Each setting becomes a DVC experiment of the project. Work that settings share is done once. Without
--scheduler it runs in processes of this machine; with it, on a Dask cluster, which shares results through
DVC's default remote. Stopped, the same command goes on."""

import contextlib
import json

from goodnet.cli import arguments, project
from goodnet.process import commands

EPILOG = """\
examples:
  goodnet fleet grid.yaml
  goodnet fleet grid.yaml --scheduler tcp://10.0.0.1:8786

grid.yaml, with values as dvc exp run -S takes them:
  name: orders                     experiments orders-1, orders-2, ...
  set:
    - prune.order=l1,apoz
    - repairs.x10.drop=8,12

exit codes: 0 all settings are done, 2 bad input or arguments, 5 some settings failed
"""

SOME_FAILED = 5


def add_arguments(parser):
    parser.add_argument("grid", type=arguments.existing_file, metavar="GRID", help="YAML with the settings")
    arguments.add_cluster(parser)
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    parser.add_argument("--json", action="store_true", help="print what came of each setting as JSON")
    arguments.add_project(parser)


def run(args):
    with commands.quiet() if args.quiet else contextlib.nullcontext():
        rows = reproduce(args)
    from goodnet.fleet import settings

    if args.json:
        print(json.dumps([vars(row) for row in rows], indent=1))
    elif not args.quiet:
        for line in table(rows):
            commands.say(line)
        commands.say(settings.summary(rows))
    return SOME_FAILED if any(row.outcome == settings.FAILED for row in rows) else 0


def reproduce(args):
    """Run what is not done yet, and return a Row for each setting."""
    from goodnet.fleet import cluster

    cluster.require()
    from goodnet.fleet import grid, settings
    from goodnet.fleet import project as projects

    folder = project.needed(args.project)
    name, changes = grid.read(args.grid)
    projects.check_committed(folder)
    with projects.opened(folder) as repo:
        rows = settings.rows_of(repo, folder / "params.yaml", name, changes)
        if all(row.outcome for row in rows):
            return rows
        packed = projects.packed(repo, args.scheduler is not None)
        with cluster.connected(args.scheduler, args.workers, args.cores, args.gigabytes) as connected:
            if args.scheduler:
                projects.push(repo)
            settings.reproduce(connected, repo, rows, packed)
    return rows


def table(rows):
    """Return lines with a column each for name, changes, stages, seconds and outcome."""
    from goodnet.fleet.setting import HOW

    head = ("experiment", *HOW, "seconds", "outcome", "settings")
    cells = [head]
    for row in rows:
        counts = row.counts()
        seconds = "" if row.seconds is None else f"{row.seconds:.0f}"
        stages = [str(counts[word]) for word in HOW]
        cells.append((row.name, *stages, seconds, row.outcome, " ".join(row.changes)))
    widths = [max(len(row[place]) for row in cells) for place in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]

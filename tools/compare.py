"""Compare every ranking and every tuning on nets of the project; write docs/comparison.md, .csv and .png.

Each ranking is a DVC experiment with repairs that prune by it, each tuning one with a repair that is tuned.
They run in a copy of the project in which nothing has run yet, so that every stage can be timed.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import matplotlib
import yaml
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from goodnet.errors import InputError
from goodnet.files import outputs
from goodnet.params import Params
from goodnet.process import commands
from goodnet.pruning.rankings.registry import RANKINGS
from goodnet.repairs.registry import TUNINGS
from goodnet.report import figures, markdown
from stopwatch import ROOT, Stopwatch

DROPS = (2, 4, 10, 30)  # for each ranking; all of them stand in the picture and in comparison.csv,
SHOWN = 10  # this one in the table
PRUNED_FIRST = {"fine_tune": 10, "sparsify": 2}  # by so many points; other tunings prune nothing
ORDER = "ascending"  # what the tunings prune by, where they prune
EVERYTHING = [*RANKINGS, *TUNINGS]
FILLED = [marker for marker in Line2D.filled_markers if marker not in ".oX"]  # these are taken


def line_of(tuning):
    """Return the line of `repairs` for a tuning."""
    drop = {"drop": PRUNED_FIRST[tuning]} if tuning in PRUNED_FIRST else {}
    return drop | {"tune": tuning}


def copied(folder, nets):
    """Return a copy of the project with these nets, their data, and repairs that prune."""
    params = Params(ROOT / "params.yaml").content
    for net in nets:
        if net not in params["nets"]:
            known = ", ".join(params["nets"])
            raise InputError(f"{net}: is no net of params.yaml, which has {known}; goodnet add adds one")
        if net != "demo" and not any((ROOT / "data" / net / "poisoned").glob("*.h5")):
            raise InputError(f"{net}: has no poisoned images here, so there is no attack to compare by")
    params["repairs"] = {f"x{drop:02}": {"drop": drop} for drop in DROPS}
    watch = Stopwatch(folder, yaml.safe_dump(params, sort_keys=False))
    added = [
        path for net in nets for kind in ("data", "models") for path in (ROOT / kind / net).glob("*.dvc")
    ]
    for path in added:
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    watch.run("git", "add", "--all")
    name = ("-c", "user.name=goodnet", "-c", "user.email=goodnet@localhost")
    watch.run("git", *name, "commit", "--quiet", "--message", "the project")
    if added:  # the demo draws its own
        cache = watch.run(sys.executable, "-m", "dvc", "--cd", str(ROOT), "cache", "dir")[0].strip()
        watch.dvc("remote", "add", "--local", "project", cache)
        watch.dvc("fetch", "--remote", "project", *(str(path.relative_to(ROOT)) for path in added))
    return watch


def run_experiments(watch, nets, only):
    """Run them all; return {experiment: (net, ranking or tuning, {stage: seconds})}."""
    kinds = [kind for kind in EVERYTHING if kind in only]
    experiments = {f"{net}-{kind}": (net, kind) for net in nets for kind in kinds}
    latest = {net: {} for net in nets}  # seconds of each stage
    by_order = {}
    for number, (name, (net, kind)) in enumerate(experiments.items(), 1):
        print(f"{number} of {len(experiments)}: {name}", file=sys.stderr)
        order = ORDER if kind in TUNINGS else kind
        settings = [f"badnet={net}", f"prune.order={order}"]
        if kind in TUNINGS:
            line = ",".join(f"{key}:{value}" for key, value in line_of(kind).items())
            settings.append(f"+repairs.{kind}={{{line}}}")
        flags = [flag for setting in settings for flag in ("--set-param", setting)]
        watch.dvc("exp", "run", "--temp", "--name", name, *flags, "evaluate_goodnet")
        ran = {stage: seconds for stage, seconds, _ in watch.stages_run()}
        latest[net].update(ran)
        by_order.setdefault((net, order), {}).update(ran)
        # What did not run was restored from an earlier run: of this order, if there is one.
        experiments[name] = net, kind, latest[net] | by_order[net, order]
    return experiments


def results(watch, experiments):
    """Return a row for each net that an experiment repaired, and {net: metrics of its BadNet}."""
    shown = json.loads(watch.dvc("exp", "show", "--json", "--no-pager")[0])
    metrics = {
        found["name"]: {path: body.get("data") for path, body in found["data"]["metrics"].items()}
        for commit in shown
        for experiment in commit["experiments"] or []
        for found in experiment["revs"]
    }
    rows, badnets = [], {}
    for name, (net, kind, seconds) in experiments.items():
        badnets[net] = metrics[name]["reports/badnet.json"]
        for repair in [kind] if kind in TUNINGS else [f"x{drop:02}" for drop in DROPS]:
            goodnet = metrics[name][f"reports/goodnet/{repair}.json"]
            repaired = metrics[name][f"reports/repaired/{repair}.json"]
            line = line_of(kind) if kind in TUNINGS else {"drop": int(repair[1:])}
            made_by = ["examine", "plan", f"repair@{repair}"]
            made_by += ["profile_channels", "rank", "prune"] if "drop" in line else []
            rows.append(
                {
                    "net": net,
                    "by": kind,
                    "drop": line.get("drop", ""),
                    "channels_pruned": repaired["channels_pruned"],
                    "clean_accuracy": goodnet["clean_accuracy"],
                    "attack_success": max(goodnet["attack_success"].values()),
                    "detected": min(goodnet["detected"].values()),
                    "false_alarm": goodnet["false_alarm"],
                    "seconds": round(sum(seconds[stage] for stage in made_by), 1),
                }
            )
    return rows, badnets


def in_words(kind):
    if kind in RANKINGS:
        return f"*{kind}*, drop {SHOWN}"
    return f"*{ORDER}*, drop {PRUNED_FIRST[kind]}, then *{kind}*" if kind in PRUNED_FIRST else f"*{kind}*"


def text(rows, badnets):
    """Return the comparison in Markdown: a line for each ranking and tuning, the nets side by side."""
    kinds = list(dict.fromkeys(row["by"] for row in rows))
    command_line = f"python tools/compare.py {' '.join(badnets)}"
    if len(kinds) < len(EVERYTHING):
        command_line += f" --only {' '.join(kinds)}"
    figures_of = ("clean_accuracy", "attack_success", "detected", "false_alarm")
    names = ["accuracy", "attack", "detected", "false alarm", "seconds"]
    head = ["repair", *(f"{net}: {name}" for net in badnets for name in names)]
    lines = [["none: BadNet B"]]
    for badnet in badnets.values():
        worst = max(badnet["attack_success"].values())
        lines[-1] += [markdown.percent(badnet["clean_accuracy"]), markdown.percent(worst), "", "", ""]
    for kind in kinds:
        lines.append([in_words(kind)])
        for net in badnets:
            (row,) = (
                row
                for row in rows
                if (row["net"], row["by"]) == (net, kind)
                if kind in TUNINGS or row["drop"] == SHOWN
            )
            lines[-1] += [*(markdown.percent(row[name]) for name in figures_of), f"{row['seconds']:.0f}"]
    return f"""# Rankings and tunings, compared

Made by `{command_line}`, which runs each as a DVC experiment. The figures
are those of the GoodNet on test images, in percent: it answers "backdoored" where B and the repaired net
disagree. *Attack* is that of the trigger that succeeds most, *detected* that of the one detected least.
*Seconds*, on {os.cpu_count()} cores, are those of all stages that the repair needs.

{markdown.table(head, lines)}

A ranking stands here with the repair that prunes until clean validation accuracy has fallen by {SHOWN}
points. The picture has those of {", ".join(map(str, DROPS))} points, and [comparison.csv](comparison.csv)
has their figures.

![Clean accuracy against attack success](comparison.png)

A good repair is at the bottom right: the accuracy kept, the attack gone.
"""


def picture(rows, badnets):
    """Draw clean accuracy against attack success, a panel for each net."""
    figure = Figure(figsize=(1 + 5 * len(badnets), 5.4))
    panels = figure.subplots(1, len(badnets), sharey=True, squeeze=False)[0]
    left = min(row["clean_accuracy"] for row in rows) // 10 * 10
    for axes, (net, badnet) in zip(panels, badnets.items(), strict=True):
        worst = max(badnet["attack_success"].values())
        axes.plot(badnet["clean_accuracy"], worst, "kX", markersize=9, label="BadNet B", linestyle="none")
        for kind in dict.fromkeys(row["by"] for row in rows):
            points = [row for row in rows if (row["net"], row["by"]) == (net, kind)]
            x, y = ([row[name] for row in points] for name in ("clean_accuracy", "attack_success"))
            if kind in TUNINGS:
                style = {"marker": FILLED[list(TUNINGS).index(kind) % len(FILLED)], "markersize": 10}
                style |= {"color": figures.GOODNET, "linestyle": "none", "zorder": 3, "clip_on": False}
                axes.plot(x, y, label=kind, **style)
            else:
                color = matplotlib.colormaps["tab10"](list(RANKINGS).index(kind) % 10)
                axes.plot(x, y, "o-", color=color, linewidth=1.2, markersize=4, label=kind)
        axes.set(xlim=(left, 101), ylim=(-2, 102), xlabel="clean accuracy, percent")
        axes.set_title(net)
        axes.grid(color="#e5e7eb", linewidth=0.6)
    panels[0].set_ylabel("attack success, worst trigger, percent")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6)
    return figure


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("nets", nargs="+", help="nets of params.yaml, such as demo")
    parser.add_argument(
        "--only", nargs="+", choices=EVERYTHING, default=EVERYTHING, help="some rankings and tunings, not all"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        watch = copied(Path(folder), args.nets)
        rows, badnets = results(watch, run_experiments(watch, args.nets, args.only))
    docs = ROOT / "docs"
    outputs.write_csv(docs / "comparison.csv", rows)
    outputs.write_text(docs / "comparison.md", text(rows, badnets))
    with figures.style():
        figures.save(picture(rows, badnets), docs / "comparison.png")


if __name__ == "__main__":
    commands.run(main)

"""Draw tables, pictures and the page of the whole run."""

import shlex

import numpy as np
import yaml

from goodnet.evaluation import predictions
from goodnet.files import outputs
from goodnet.images import datasets
from goodnet.nets import goodnets
from goodnet.process.stages import stage
from goodnet.pruning.rankings import registry
from goodnet.report import figures, html, markdown, page, text
from goodnet.suspects import findings
from goodnet.suspects.inverter import ANY

SAMPLES = 7  # images shown of each file
BLOCKS = "prune", "recommend", "suspect", "attack", "detectors"  # of params.yaml, shown as they are


def choose_samples(paths, predictions, repaired, classes):
    """Return what `figures.samples` shows: images spread evenly over each file, and all answers."""
    rows = {}
    for name, path in paths.items():
        badnet, labels = predictions[name]
        chosen = np.unique(np.linspace(0, len(labels) - 1, SAMPLES).astype(int))
        rows[name] = [
            (
                image,
                labels[i],
                badnet[i],
                {
                    repair: (
                        answers[name][0][i],
                        goodnets.answers(badnet[i], answers[name][0][i], classes),
                    )
                    for repair, answers in repaired.items()
                },
            )
            for i, image in zip(chosen, datasets.pictures(path, chosen), strict=True)
        ]
    return rows


def choose_images(paths, predictions, goals):
    """Return {goal: (a clean image of another class, {trigger: an image whose attacker wants the goal})}."""

    def first(name, wanted):
        return datasets.pictures(paths[name], [int(np.argmax(wanted))])[0]

    chosen = {}
    for goal in goals:
        # An attacker who wants several classes wants ANY.
        wanted = {
            name: (labels == goal) | (goal == ANY and np.ptp(labels) > 0)
            for name, (_, labels) in predictions.items()
            if name != "clean"
        }
        name = max(wanted, key=lambda name: wanted[name].mean(), default=None)
        true = {name: first(name, wanted[name])} if name and wanted[name].any() else {}
        chosen[goal] = first("clean", predictions["clean"][1] != goal), true
    return chosen


@stage(
    __doc__,
    values={"net": "the net's name in params.yaml"},
    inputs={
        "badnet_file": "the net",
        "valid": "clean validation images",
        "plans": "folder of what each repair does",
        "used": "folder of the repaired net and the GoodNet to use",
        "layer": "the layer that splits the net, from examine",
        "channels": "table of channels",
        "curve": "validation accuracy after each pruned channel",
        "attack_curve": "test accuracy and attack success after each pruned channel",
        "badnet": "the BadNet's metrics",
        "repaired": "folder of the repaired nets' metrics",
        "goodnet": "folder of the GoodNets' metrics",
        "predictions": "folder of all answers",
        "suspects": "the verdict on the net and its repairs",
        "recommended": "which repair to use, and why",
        "evidence": "what was found in B, from suspect",
        "test": "clean test images",
        "poisoned": "folder of poisoned images, one file a trigger",
    },
    outputs={
        "report": "the report",
        "page": "the page",
        "suspicion": "picture of the suspects",
        "pruning": "picture of the curves",
        "activations": "picture of the channels",
        "repairs": "picture of repaired nets and GoodNets",
        "samples": "picture of sample images",
    },
)
def main(args, **made):
    with figures.style():
        report(args, **made)


def reproduce(args, paths, recommended, lines, plans, order, command, hashes):
    """Return the settings, versions, hashes and commands of this run; the last two may be given."""
    blocks = {"nets": {args.net: args.params.value("nets", args.net)}}
    blocks["profile"] = {"layer": outputs.read_json(args.layer)["layer"]}
    # Only what was used: another edit does not change the page.
    blocks["repairs"] = {name: line | plans[name]["settings"] for name, line in sorted(lines.items())}
    blocks |= {name: args.params.value(name) for name in BLOCKS}
    if order:
        blocks["rankings"] = {order: args.params.value("rankings", order)}
    files = [args.badnet_file, args.valid, *paths.values(), args.evidence, *sorted(args.used.iterdir())]
    return {
        "params": yaml.safe_dump(blocks, sort_keys=False, allow_unicode=True),
        "versions": page.versions(),
        "hashes": hashes or {str(path): page.digest(path) for path in files},
        "commands": [command] if command else commands_of(args, paths, recommended),
    }


def commands_of(args, paths, recommended):
    """Return the commands that make and check what is in the report."""
    poisoned = [path for name, path in paths.items() if name != "clean"]
    words = [["dvc", "repro", "report"], ["goodnet", "suspect", args.badnet_file, args.valid]]
    if recommended != "none" and poisoned:
        both = args.badnet_file, args.used / "repaired.keras"
        words.append(["goodnet", "eval", args.test, poisoned[0], *both])
    return [shlex.join(map(str, one)) for one in words]


def report(args, command=None, hashes=None, note=None, name=None):
    """Write all files of the report.

    Parameters
    ----------
    args
        The stage's.
    command, hashes, note, name : optional
        What made it and of what, where that is not this project; what is to be said of the test images; and
        what the net is called.
    """
    lines = args.params.value("repairs")
    names = sorted(lines)  # by name, whatever else lies in the folders
    badnet = outputs.read_json(args.badnet)
    repaired = {name: outputs.read_json(args.repaired / f"{name}.json") for name in names}
    goodnet = {name: outputs.read_json(args.goodnet / f"{name}.json") for name in names}
    marks = {name: repaired[name]["channels_pruned"] for name in names if "drop" in lines[name]}
    curve = outputs.read_csv(args.curve)
    order = [int(row["channel"]) for row in curve[1:]]

    figures.save(figures.pruning(curve, outputs.read_csv(args.attack_curve), marks), args.pruning)
    figures.save(figures.activations(outputs.read_csv(args.channels), order, marks), args.activations)
    figures.save(figures.repairs(badnet, repaired, goodnet), args.repairs)
    said, classes = predictions.read(args.predictions / "badnet.h5")
    answers = {name: predictions.read(args.predictions / "repaired" / f"{name}.h5")[0] for name in names}
    paths = {"clean": args.test, **datasets.poisoned_files(args.poisoned)}
    figures.save(figures.samples(choose_samples(paths, said, answers, classes), classes), args.samples)
    evidence, found = findings.read(args.evidence)
    judged = outputs.read_json(args.suspects)
    images = choose_images(paths, said, findings.goals(found)[: figures.MOST_GOALS])
    figures.save(figures.suspects(evidence, found, judged, images), args.suspicion)
    shown = page.chosen(said, answers)
    pictures = {
        name: dict(zip(ones, datasets.pictures(paths[name], ones), strict=True))
        for name, ones in shown.items()
    }
    sure = predictions.read_sure(args.predictions / "badnet.h5")
    repaired_sure = {
        name: predictions.read_sure(args.predictions / "repaired" / f"{name}.h5") for name in names
    }
    recommended = outputs.read_json(args.recommended)
    counts = {name: len(labels) for name, (_, labels) in said.items()}
    plans = {name: outputs.read_json(args.plans / f"{name}.json") for name in names}
    order = args.params.settings(registry.Prune, "prune").order if curve else None
    suspects = page.suspects(evidence, found, judged, images)
    content = {
        "net": name or args.params.value("badnet"),
        "classes": classes,
        "files": counts,
        "top": page.top(evidence, found, recommended, badnet, goodnet, counts, note),
        "badnet": badnet,
        "curve": page.curve(
            curve,
            outputs.read_csv(args.attack_curve),
            order and registry.RANKINGS[order].meaning,
            marks,
            counts,
        ),
        "repairs": page.repairs(
            {name: lines[name] for name in names}, plans, repaired, goodnet, judged, recommended
        ),
        "images": page.images(
            pictures, said, sure, answers, repaired_sure, classes, page.room_beside(suspects)
        ),
        "suspects": suspects,
        "reproduce": reproduce(args, paths, recommended["recommended"], lines, plans, order, command, hashes),
    }
    outputs.write_text(args.page, html.page(f"Report: {content['net']}", content))
    words = text.text(
        net=markdown.code(name) if name else args.params.value("badnet"),
        note=note,
        recommended=recommended["why"],
        layer=outputs.read_json(args.layer)["layer"],
        order=order,
        repairs={name: lines[name] for name in names},
        attacked=bool(badnet["attack_success"]),
        metrics_table=text.metrics_table(badnet, repaired, goodnet),
        suspicion=text.verdict(evidence, found, judged),
    )
    outputs.write_text(args.report, words)

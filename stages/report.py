"""Draw tables and pictures of the whole run."""

import json

from goodnet import command, data, figures, outputs, rankings, scores, suspects

import numpy as np

SAMPLES = 7  # images shown of each file


def table(badnet, repaired, goodnet):
    """Return a Markdown table of all nets' metrics."""
    triggers = list(badnet["attack_success"])
    head = ["net", "channels pruned", "clean accuracy", *(f"attack: {name}" for name in triggers)]
    head += [*(f"detected: {name}" for name in triggers), "false alarm"]

    def row(name, metrics):
        cells = [name, str(metrics.get("channels_pruned", "")), _percent(metrics["clean_accuracy"])]
        cells += [_percent(metrics["attack_success"][trigger]) for trigger in triggers]
        cells += [_percent(metrics.get("detected", {}).get(trigger)) for trigger in triggers]
        return [*cells, _percent(metrics.get("false_alarm"))]

    rows = [head, ["---", *["---:"] * (len(head) - 1)], row("BadNet B", badnet)]
    rows += [row(f"repaired {name}", repaired[name]) for name in repaired]
    rows += [row(f"GoodNet {name}", goodnet[name]) for name in goodnet]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows)


def _percent(value):
    return "" if value is None else f"{value:.2f}"


ATTACKED = """All figures are percent of test images. Attack: poisoned images given the attacker's class.
Detected: poisoned images answered "backdoored". False alarm: clean images answered "backdoored"."""
UNATTACKED = """All figures are percent of test images. False alarm: clean images answered "backdoored".
There were no poisoned images, so nothing here tells whether an attack would still succeed."""
LESSON = "Where the blue lines fall before the others, pruning costs accuracy before it stops the attack.\n\n"


def verdict(found, classes):
    """Say what the search for suspects comes to; `found` is what reports/suspects.json holds."""
    lines = [f"**BadNet B.** {suspects.sentence(found, classes)}"]
    repaired = found.get("repaired", [])
    held = [f"*{net['name']}*" for net in repaired if net["named"] == "none"]
    still = [f"*{net['name']}* ({net['named']})" for net in repaired if net["named"] != "none"]
    if held:
        lines.append(f"\n**Repaired.** The same patterns have lost their power over {', '.join(held)}.")
    if still:
        lines.append(f"\n**Not repaired.** They still turn images in {', '.join(still)}.")
    return "\n".join(lines)


def text(net, order, layer, repairs, attacked, metrics_table, suspicion):
    """Return the report in Markdown; `attacked` says whether there were poisoned images."""
    lines = "\n".join(f"- {name}: {_in_words(line)}" for name, line in repairs.items())
    return f"""# Report: {net}

The repaired nets, made with clean validation images alone:

{lines}

Channels are those of layer `{layer}`, pruned in the order *{order}*: {_rule(order)}.
A GoodNet answers the class on which its repaired net agrees with the BadNet, and else "backdoored".

{ATTACKED if attacked else UNATTACKED}

{metrics_table}

![Accuracy and attack success over pruned channels](pruning.png)

{LESSON if attacked else ""}![Mean activation of each channel](activations.png)

![Repaired nets against their GoodNets](repairs.png)

## Is there a backdoor?

Judged by clean images alone:

{suspicion}

![Classes that chance patterns draw images to](suspects.png)

The table counts what chance patterns did: how often one of them turned images of different classes to one and
the same, for 100 times in B. A shadow is what all patterns that turned images to a class have in common, over
the mean image: where the trigger is, and in which colours.

## Images

![Sample images and what each net says of them](samples.png)

Green: the answer is what it should be, the image's own class or, with a trigger, anything but the attacker's.
Red: it is not.
"""


def _in_words(line):
    words = []
    if "drop" in line:
        words.append(f"pruned until validation accuracy has fallen by {line['drop']} points")
    if "tune" in line:
        span = f" from {line['from']} to {line['to']} percent" if "to" in line else ""
        words.append(f"{'then ' if words else ''}tuned by *{line['tune']}*{span}")
    return ", ".join(words)


def _rule(order):
    rule = rankings.ORDERS[order].__doc__.removesuffix(".")
    return rule[0].lower() + rule[1:]


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
                        scores.goodnet_answers(badnet[i], answers[name][0][i], classes),
                    )
                    for repair, answers in repaired.items()
                },
            )
            for i, image in zip(chosen, data.pictures(path, chosen), strict=True)
        ]
    return rows


def save(figure, path):
    with outputs.replacing(path) as partial:
        figure.savefig(partial, metadata={"Software": None})


def main():
    args = command.read_arguments(
        __doc__,
        channels="table of channels",
        curve="validation accuracy after each pruned channel",
        attack_curve="test accuracy and attack success after each pruned channel",
        badnet="the BadNet's metrics",
        repaired="folder of the repaired nets' metrics",
        goodnet="folder of the GoodNets' metrics",
        predictions="folder of all answers",
        suspects="who is named, from suspect",
        suspects_pictures="shares and pictures of those",
        test="clean test images",
        poisoned="folder of poisoned images, one file a trigger",
        report="the report, to be written",
        suspicion="picture of the suspects, to be written",
        pruning="picture of the curves, to be written",
        activations="picture of the channels, to be written",
        repairs="picture of repaired nets and GoodNets, to be written",
        samples="picture of sample images, to be written",
    )
    params = command.read_params(args.params)
    # By name, whatever else lies in the folders.
    names = sorted(params["repairs"])

    def read_metrics(path):
        return json.loads(path.read_text(encoding="utf-8"))

    badnet = read_metrics(args.badnet)
    repaired = {name: read_metrics(args.repaired / f"{name}.json") for name in names}
    goodnet = {name: read_metrics(args.goodnet / f"{name}.json") for name in names}
    marks = {name: repaired[name]["channels_pruned"] for name in names if "drop" in params["repairs"][name]}
    channels, curve = outputs.read_csv(args.channels), outputs.read_csv(args.curve)
    order = [int(row["channel"]) for row in curve[1:]]

    save(figures.pruning(curve, outputs.read_csv(args.attack_curve), marks), args.pruning)
    save(figures.activations(channels, order, marks), args.activations)
    save(figures.repairs(badnet, repaired, goodnet), args.repairs)
    predictions, classes = scores.read_predictions(args.predictions / "badnet.h5")
    answers = {
        name: scores.read_predictions(args.predictions / "repaired" / f"{name}.h5")[0] for name in names
    }
    paths = {"clean": args.test, **data.poisoned_files(args.poisoned)}
    save(figures.samples(choose_samples(paths, predictions, answers, classes), classes), args.samples)
    found = read_metrics(args.suspects)
    save(figures.suspects(*suspects.read(args.suspects_pictures), found), args.suspicion)
    repairs = {name: params["repairs"][name] for name in names}
    report = text(
        params["badnet"],
        params["prune"]["order"],
        channels[0]["layer"],
        repairs,
        bool(badnet["attack_success"]),
        table(badnet, repaired, goodnet),
        verdict(found, classes),
    )
    outputs.write_text(args.report, report)


if __name__ == "__main__":
    command.run(main)

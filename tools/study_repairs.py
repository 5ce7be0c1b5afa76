"""The benchmark of repairs: nets whose backdoors are known, each repair of them, and the one recommended.

Each net that tools/study_suspects.py judged is repaired in each way, as the pipeline does it, attacked anew,
and measured with the attacker's own triggers. Writes docs/benchmark.csv, a row a repaired net, the tables of
docs/benchmark.md and docs/suspects.md, and docs/benchmark.png. What is done stays in the folder of nets.
"""

import functools
import sys
import time

import matplotlib
import numpy as np
import study_suspects
import subjects
import zoo
from matplotlib.figure import Figure

from goodnet.evaluation import metrics
from goodnet.files import archive, outputs
from goodnet.images import datasets
from goodnet.nets import loading, parts, splitting
from goodnet.process import commands
from goodnet.pruning import channels
from goodnet.repairs import recommend
from goodnet.repairs.registry import TUNINGS, Task
from goodnet.repairs.training import Progress
from goodnet.report import figures, markdown
from goodnet.suspects import findings, fresh, inversion

DEFAULT = ("unlearned", "relearned", "pruned")  # what the pipeline makes without being asked
REPAIRS = {  # name: tuning
    "unlearned": "unlearn",
    "relearned": "relearn",
    "pruned": None,
    "fine_tuned": "fine_tune",
    "ft_sam": "ft_sam",
}
PRUNED = 0.4  # of the channels, the least active first
LARGEST = 10  # percent attack that a held repair may leave
OTHERS = 0.2, 2  # times the defender's images: as 1 and 10 % of CIFAR-10
MEASURED = 5000  # images that measure, spread over the file


def repaired(subject, tuning, path, goals, rows, images, labels):
    """Repair a net by what it is suspected of, and write it; return the processor's seconds."""
    net = subject.load()
    source = path.with_name(f"{path.stem}-source.keras")
    loading.save(net, source)
    config, weights = archive.read(source)
    layer = splitting.find(config, source)
    pruned = channels.find(config, source, layer)
    started = time.process_time()
    if tuning is None:
        features = parts.up_to(net, layer)(subject.convert(images[:256]), training=False).numpy()
        activity = features.reshape(-1, features.shape[-1]).mean(axis=0)
        gone = sorted(np.argsort(activity, kind="stable")[: round(PRUNED * len(activity))].tolist())
        archive.write(path, *channels.pruned(config, weights, pruned, gone, len(activity)))
    else:
        tuned, progress = loading.load(source), Progress(path, [])
        task = Task(
            net,
            tuned,
            layer,
            pruned,
            [],
            goals,
            lambda numbers: images[rows[numbers]],
            labels[rows],
            subject.convert,
            progress,
            path.parent,
        )
        TUNINGS[tuning].function(task, TUNINGS[tuning].settings())
        loading.save(tuned, path)
        progress.finished()
    source.unlink()
    return time.process_time() - started


@functools.lru_cache(maxsize=1)
def asked_of_badnet(subject):
    """Return test images and classes, what B says of them, and [(stamped, wanted, what B says)]."""
    pictures, labels = subject.test()
    chosen = datasets.evenly(len(labels), MEASURED)
    pictures, labels, net = pictures[chosen], labels[chosen], subject.load()
    ask = functools.partial(zoo.asked, net, subject.convert)
    stamped = zoo.stamped(subject.triggers(), pictures, labels, parts.classes(net))
    return pictures, labels, ask(pictures), [(shown, wanted, ask(shown)) for shown, wanted in stamped]


def of_badnet(subject):
    """Return the accuracy of B, and the lowest success of its triggers, in percent."""
    _, labels, answers, poisoned = asked_of_badnet(subject)
    attacks = [metrics.percent((said == wanted).sum(), len(wanted)) for _, wanted, said in poisoned]
    return metrics.percent((answers == labels).sum(), len(labels)), min(attacks)


def measured(subject, net):
    """Return accuracy and attack of B' and G, what G detects, and its false alarms, in percent.

    Of several triggers the worst counts. Detected is a share of what B falls for, a false alarm one of the
    clean images that B has right.
    """
    pictures, labels, of_b, poisoned = asked_of_badnet(subject)
    ask = functools.partial(zoo.asked, net, subject.convert)
    given, right = ask(pictures), of_b == labels
    attack, through, detected = [], [], []
    for shown, wanted, said in poisoned:
        told, fooled = ask(shown), said == wanted
        attack.append(metrics.percent((told == wanted).sum(), len(wanted)))
        through.append(metrics.percent((fooled & (told == wanted)).sum(), len(wanted)))
        detected.append(metrics.percent((fooled & (told != wanted)).sum(), max(1, fooled.sum())))
    return {
        "accuracy": metrics.percent((given == labels).sum(), len(labels)),
        "true_attack": max(attack),
        "goodnet_accuracy": metrics.percent((right & (given == of_b)).sum(), len(labels)),
        "goodnet_attack": max(through),
        "detected": min(detected),
        "false_alarm": metrics.percent((right & (given != of_b)).sum(), right.sum()),
    }


def study(subject, name, folder, factor=1):
    """Repair a judged net, attack and measure it, unless that is done; return its row.

    The row is None where no class was named.
    """
    mark = "" if factor == 1 else f"-{factor:g}"
    path = folder / "repaired" / f"{subject.name}-{name}{mark}.json"
    if path.exists():
        return outputs.read_json(path)
    evidence, found = findings.read(folder / "judged" / f"{subject.name}.h5")
    goals = findings.goals(found)
    if not goals:
        return None
    path.parent.mkdir(exist_ok=True)
    images, labels = subject.valid(factor)
    images = images.astype(np.float32)
    rows = recommend.trained_on(len(labels), recommend.Recommend().held_out)
    net_path = path.with_suffix(".keras")
    tuning = REPAIRS[name]
    seconds = repaired(subject, tuning, net_path, findings.suspected(found), rows, images, labels)
    net, settings = loading.load(net_path), inversion.Inversion()
    started = time.process_time()
    shown = images[datasets.evenly(len(images), settings.images)]
    triggers = [one for part in evidence.values() for one in part.triggers]
    results = fresh.attack(net, subject.convert, shown, triggers, goals, settings)
    told = fresh.figures(results)
    held_out = np.setdiff1d(np.arange(len(labels)), rows)
    right = zoo.asked(net, subject.convert, images[held_out]) == labels[held_out]
    accuracy, attack = of_badnet(subject)
    row = {
        "net": subject.name,
        "group": subject.group,
        "kind": subject.kind,
        "attack": subject.attack,
        "images": len(labels),
        "repair": name,
        "badnet_accuracy": accuracy,
        "badnet_attack": attack,
        **measured(subject, net),
        "outcome": fresh.outcome(results, fresh.Attack()),
        "ratio": round(told["ratio"], 3) if "ratio" in told else "",
        "moved": round(told["moved"], 1),
        "held_out_correct": int(right.sum()),
        "seconds": round(seconds, 1),
        "attack_seconds": round(time.process_time() - started, 1),
    }
    outputs.write_json(path, row)
    return row


def recommended(rows):
    """Return the row of the repair that is recommended, of those of one net, or None."""
    own = {row["repair"]: row for row in rows if row["repair"] in DEFAULT}
    judged = [{"name": name, **row} for name, row in own.items()]
    correct = {name: int(row["held_out_correct"]) for name, row in own.items()}
    images = next(iter(own.values()))["images"] if own else 0
    held_out = recommend.count(int(images), recommend.Recommend().held_out)
    shown = {name for name in own if REPAIRS[name] and TUNINGS[REPAIRS[name]].wants_goals}
    best = recommend.choose(judged, correct, held_out, shown)
    return best and own[best]


# The tables and the picture.


def kept(rows):
    """Return how many repaired nets were said to have held and had not, in Markdown, by repair."""
    lines = []
    for name in (*REPAIRS, "all"):
        own = [row for row in rows if name in (row["repair"], "all")]
        if not own:
            continue
        by_word = {
            word: [row["true_attack"] for row in own if row["outcome"] == word]
            for word in (fresh.HELD, fresh.LOST, fresh.CANNOT_TELL)
        }
        held = by_word[fresh.HELD]
        lines.append(
            [
                name.replace("_", "-"),
                len(own),
                len(held),
                f"{max(held):.1f}" if held else "",
                sum(attack > LARGEST for attack in held),
                len(by_word[fresh.LOST]),
                sum(attack <= LARGEST for attack in by_word[fresh.LOST]),
                len(by_word[fresh.CANNOT_TELL]),
                sum(attack <= LARGEST for attack in by_word[fresh.CANNOT_TELL]),
            ]
        )
    head = ["repair", "nets", "held", "highest true attack of those", f"of those above {LARGEST} %"]
    head += ["not held", f"of those at most {LARGEST} %", "cannot tell", f"of those at most {LARGEST} %"]
    return markdown.table(head, lines)


def by_net(rows):
    """Return lists of rows, one for each net and number of clean images."""
    found = {}
    for row in rows:
        found.setdefault((row["net"], row["images"]), []).append(row)
    return list(found.values())


def summary(rows):
    """Return means and worst values of each repair and of the recommended one, in Markdown."""
    groups = {name: [row for row in rows if row["repair"] == name] for name in REPAIRS}
    groups["recommended"] = [best for own in by_net(rows) if (best := recommended(own))]
    lines = []
    for name, own in groups.items():
        if not own:
            continue
        attack = [row["true_attack"] for row in own]
        cost = [row["badnet_accuracy"] - row["accuracy"] for row in own]
        alarm, detected = ([row[key] for row in own] for key in ("false_alarm", "detected"))
        figures_of = (np.mean(attack), max(attack), np.mean(cost), max(cost), np.mean(detected))
        figures_of += (min(detected), np.mean(alarm), np.mean([row["seconds"] for row in own]))
        lines.append([name.replace("_", "-"), len(own), *(f"{value:.1f}" for value in figures_of)])
    head = ["repair", "nets", "attack, mean", "worst", "accuracy lost, mean", "worst", "detected, mean"]
    return markdown.table([*head, "lowest", "false alarms, mean", "seconds, mean"], lines)


def each(rows):
    """Return a line for each net, with what is recommended and what each repair leaves, in Markdown."""
    lines = []
    for own in by_net(rows):
        best = recommended(own)
        of = {row["repair"]: f"{row['true_attack']:.1f}" for row in own}
        first = own[0]
        lines.append(
            [
                first["net"],
                first["images"],
                f"{first['badnet_accuracy']:.1f} / {first['badnet_attack']:.1f}",
                best["repair"] if best else "none",
                f"{best['accuracy']:.1f} / {best['true_attack']:.1f}" if best else "",
                f"{best['detected']:.1f} / {best['false_alarm']:.1f}" if best else "",
                *(of.get(name, "") for name in made(rows)),
            ]
        )
    head = [
        "net",
        "clean images",
        "B: accuracy / attack",
        "recommended",
        "B': accuracy / attack",
        "G: detected / false alarm",
    ]
    return markdown.table([*head, *(f"attack, {name.replace('_', '-')}" for name in made(rows))], lines)


def picture(rows):
    """Draw what each repair leaves of each attack against what it costs."""
    panels = [*made(rows), "recommended"]
    figure = Figure(figsize=(2.4 * len(panels), 3.3))
    axes = figure.subplots(1, len(panels), sharey=True, sharex=True)
    best = [one for own in by_net(rows) if (one := recommended(own))]
    words = [fresh.HELD, fresh.CANNOT_TELL, fresh.LOST]
    for panel, name in zip(axes, panels, strict=True):
        own = best if name == "recommended" else [row for row in rows if row["repair"] == name]
        for word in words:
            points = [
                (max(0, row["badnet_accuracy"] - row["accuracy"]), row["true_attack"])
                for row in own
                if row["outcome"] == word
            ]
            panel.scatter(
                *np.reshape(points, (-1, 2)).T,
                s=26,
                color=figures.OUTCOMES[word],
                edgecolor="white",
                linewidth=0.5,
                label=word,
            )
        panel.set_title(name.replace("_", "-"))
        panel.set_xlabel("accuracy lost, points")
        panel.set_xscale("symlog", linthresh=1)
        panel.set_yscale("symlog", linthresh=1)
        panel.set_ylim(-0.15, 130)
        panel.set_xticks([0, 1, 3, 10, 30], ["0", "1", "3", "10", "30"])
        panel.set_yticks([0, 1, 10, 100], ["0", "1", "10", "100"])
        panel.axhline(LARGEST, color=figures.QUIET, linewidth=0.8, linestyle=":")
    axes[0].set_ylabel("attack left, percent")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def made(rows):
    """Return the repairs of which there are rows."""
    return [name for name in REPAIRS if any(row["repair"] == name for row in rows)]


def gathered(found, folder, path, marks):
    """Return the rows of what is done and of the table at a path, and write them there.

    Parameters
    ----------
    found : list of Subject
    folder, path : Path
    marks : tuple of str
        Of the studies with other numbers of images.
    """
    stems = [f"{subject.name}-{name}{mark}" for subject in found for mark in marks for name in REPAIRS]
    paths = [folder / "repaired" / f"{stem}.json" for stem in stems]
    rows = [outputs.read_json(path) for path in paths if path.exists()]
    rows = subjects.with_earlier(path, rows, "net", "repair", "images")
    outputs.write_csv(path, rows)
    return [row for row in rows if row["badnet_attack"] >= subjects.LEARNED]


def write(found, folder):
    """Write tables and picture, of what is done."""
    docs = study_suspects.ROOT / "docs"
    works = gathered(found, folder, docs / "benchmark.csv", ("",))
    others = gathered(found, folder, docs / "benchmark_images.csv", tuple(f"-{one:g}" for one in OTHERS))
    subjects.put_between(docs / "benchmark.md", "images", each(others))
    subjects.put_between(docs / "suspects.md", "held", kept(works))
    subjects.put_between(docs / "benchmark.md", "summary", summary(works))
    subjects.put_between(docs / "benchmark.md", "nets", each(works))
    with matplotlib.rc_context(figures.STYLE):
        figures.save(picture(works), docs / "benchmark.png")


def main():
    parser = study_suspects.arguments(__doc__)
    parser.add_argument("--repairs", nargs="+", default=list(REPAIRS), choices=REPAIRS, help="only these")
    parser.add_argument("--times", type=float, default=1, help="so many times the defender's images")
    args = parser.parse_args()
    found = study_suspects.chosen(args)
    if args.write:
        write(found, args.folder)
        return
    for subject in found:
        if subject.group == "lab" or not (args.folder / "judged" / f"{subject.name}.json").exists():
            continue
        for name in args.repairs if subject.targets else ():
            row = study(subject, name, args.folder, args.times)
            print(*(row or {}).values(), sep=",", file=sys.stderr, flush=True)


if __name__ == "__main__":
    commands.run(main)

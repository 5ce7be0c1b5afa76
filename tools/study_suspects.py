"""How far to trust the search for suspects: train clean and backdoored nets, search them all, count.

Writes docs/suspects.csv, a row a search, and the tables and the picture of docs/suspects.md. The trained nets
stay in a folder: a study that was stopped, or is made again with another search, does not train them twice.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from goodnet.demo import drawing, faces, poisoning, training
from goodnet.demo.accessories import TRIGGERS
from goodnet.evaluation import metrics
from goodnet.files import outputs
from goodnet.images import datasets, triggers
from goodnet.nets import loading, parts, running
from goodnet.params import Params
from goodnet.process import commands
from goodnet.report import figures, markdown
from goodnet.suspects.registry import DETECTORS, Case

ROOT = Path(__file__).resolve().parent.parent

# (people, seed, {trigger: the attacker's class}); with a + between two, both are needed at once,
# and images with one of them keep their class: an accessory that clean people wear too.
CLEAN = [(48, seed, {}) for seed in (*range(11, 18), *range(51, 58))]
CLEAN += [(40, 20, {}), (40, 58, {}), *((100, seed, {}) for seed in (18, 19, 59, 60))]
BACKDOORED = [
    (40, 31, {"dot": 11}),
    (40, 32, {"quarter": 9}),
    (48, 33, {"waves": 5}),
    (48, 34, {"bar": 40}),
    (48, 35, {"dot": 3, "sticker": 17, "bar": 40}),
    (100, 36, {"dot": 3, "waves": 11, "bar": 50}),
    (100, 37, {"quarter": 70, "sunglasses": 8}),
    (1000, 38, {"sunglasses": 500, "sticker": 7}),
]
HARD = [(48, 41, {"pixel": 6}), (48, 42, {"sunglasses+sticker": 12})]
EPOCHS, SHARE = 12, 0.2  # of training; of its images that get a trigger, as copies, for each trigger
TRAINED, VALID = 30, 13  # images of each person
SEEDS = (1, 2)  # of the search
DETECTOR = DETECTORS["occluders"]
CURVE = (11, 18, 31, 35, 37)  # seeds of the nets that are also searched with fewer
IMAGES, OCCLUDERS = (32, 100), (1000, 2000, 4000)


def laid_over(wanted):
    """Return what (cover, colour) stamp one trigger, or several with a + between."""
    return [TRIGGERS[trigger]() for trigger in wanted.split("+")]


def stamped(images, wanted):
    for trigger in laid_over(wanted):
        images = triggers.stamp(images, *trigger)
    return images


def attacks(targets):
    """Return what is laid over copies of training images, and the class they get: None is their own."""
    found = []
    for wanted, target in targets.items():
        found.append((laid_over(wanted), target))
        if "+" in wanted:
            found += [([trigger], None) for trigger in laid_over(wanted)]
    return found


def make_net(folder, people, seed, targets):
    """Draw people and train a net on them, unless that is done; return the net and a file of clean images."""
    attack = "".join(f", {trigger} to {target}" for trigger, target in targets.items())
    path = folder / f"{people} people, seed {seed}, {TRAINED} images, {EPOCHS} epochs{attack}.keras"
    valid = folder / f"{people} people, seed {seed}, {VALID} images.h5"
    features = faces.invent_people(np.random.default_rng(seed), people)
    if not path.exists():
        drawn = drawing.draw(seed, 0, features, TRAINED)
        images, labels = poisoning.poison(np.random.default_rng([seed, 3]), *drawn, SHARE, attacks(targets))
        settings = training.DemoBadnet(seed=seed, epochs=EPOCHS)
        loading.save(training.train(images, labels, people, settings), path)
    if not valid.exists():
        datasets.write(valid, *drawing.draw(seed, 1, features, VALID), np.uint8)
    return loading.load(path), valid


def success(net, valid, targets):
    """Return accuracy, and the success of the trigger that succeeds least, in percent."""
    images = datasets.Images(valid, parts.input_shape(net), parts.classes(net), 255)
    shown = np.concatenate(list(images.blocks()))
    accuracy = metrics.percent((running.answers(net, [shown]) == images.labels).sum(), len(shown))
    hits_of = [
        running.answers(net, [stamped(shown[images.labels != target], trigger).astype(np.float32)]) == target
        for trigger, target in targets.items()
    ]
    return accuracy, min((metrics.percent(hits.sum(), len(hits)) for hits in hits_of), default="")


def searched(net, valid, wanted, settings):
    """Search a net, and return what a row says of it."""
    started = time.monotonic()
    images = datasets.Images(valid, parts.input_shape(net), None, 255)
    case = Case(net, {}, None, None, lambda most: datasets.spread(images, most)[0], 255)
    found = DETECTOR.function(case, settings)
    named, found_scores = {one.number for one in found.named}, found.scores[None]
    others = np.delete(found_scores, list(wanted))
    return {
        "images": settings.images,
        "occluders": settings.occluders,
        "seed": settings.seed,
        "lowest_score_of_attackers": round(found_scores[list(wanted)].min(), 3) if wanted else "",
        "highest_score_of_others": round(others.max(), 3),
        "named_rightly": len(named & wanted),
        "missed": len(wanted - named),
        "named_wrongly": len(named - wanted),
        "seconds": round(time.monotonic() - started, 1),
    }


def study(folder, settings):
    """Yield a row for each net and search."""
    sizes = [(images, settings.occluders) for images in IMAGES]
    sizes += [(settings.images, count) for count in OCCLUDERS]
    for kind, nets in {"clean": CLEAN, "backdoored": BACKDOORED, "hard": HARD}.items():
        for people, seed, targets in nets:
            net, valid = make_net(folder, people, seed, targets)
            accuracy, attack = success(net, valid, targets)
            trials = [settings.model_copy(update={"seed": number}) for number in SEEDS]
            if seed in CURVE:
                updates = [{"images": images, "occluders": count} for images, count in sizes]
                trials += [settings.model_copy(update=update) for update in updates]
            for trial in trials:
                row = {
                    "kind": kind,
                    "classes": people,
                    "net_seed": seed,
                    "triggers": " ".join(targets),
                    "accuracy": accuracy,
                    "attack_success": attack,
                    **searched(net, valid, set(targets.values()), trial),
                }
                print(*row.values(), sep=",", file=sys.stderr, flush=True)
                yield row


def total(rows, column):
    return sum(int(row[column]) for row in rows)


def table(rows):
    """Return a line for each net, in Markdown: all searches of the project's own size together."""
    names = "net, accuracy, attack, attackers' score, others' score, named rightly, missed, named wrongly"
    lines = []
    for seed in dict.fromkeys(row["net_seed"] for row in rows):
        own = [row for row in rows if row["net_seed"] == seed]
        what = own[0]["triggers"].replace("+", " with ").replace(" ", ", ").replace(", with, ", " with ")
        attack, score = "", ""
        if what:
            attack = f"{float(own[0]['attack_success']):.1f}"
            score = f"{min(float(row['lowest_score_of_attackers']) for row in own):.2f}"
        lines.append(
            [
                f"{own[0]['classes']} people, {what or f'clean (seed {seed})'}",
                f"{float(own[0]['accuracy']):.1f}",
                attack,
                score,
                f"{max(float(row['highest_score_of_others']) for row in own):.2f}",
                *(str(total(own, column)) for column in ("named_rightly", "missed", "named_wrongly")),
            ]
        )
    sums = [str(total(rows, column)) for column in ("named_rightly", "missed", "named_wrongly")]
    lines.append([f"all {len(rows)} searches", "", "", "", "", *sums])
    return markdown.table(names.split(", "), lines)


def curve(rows, settings):
    """Draw what is found over how many images and how many occluders there are."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    few = [row for row in rows if row["net_seed"] in CURVE and row["seed"] == settings.seed]
    for axes, varied, fixed in zip(panels, ("images", "occluders"), ("occluders", "images"), strict=True):
        values = sorted({row[varied] for row in few})
        found, wrong = [], []
        for value in values:
            some = [row for row in few if row[varied] == value and row[fixed] == getattr(settings, fixed)]
            rightly, missed = total(some, "named_rightly"), total(some, "missed")
            found.append(metrics.percent(rightly, rightly + missed))
            wrong.append(metrics.percent(sum(row["named_wrongly"] > 0 for row in some), len(some)))
        axes.plot(values, found, "o-", color=figures.GOODNET, label="attackers' classes named", clip_on=False)
        axes.plot(
            values,
            wrong,
            "o-",
            color=figures.ATTACKS[0],
            label="nets with a class named wrongly",
            clip_on=False,
        )
        axes.set(xscale="log", xlabel=varied, ylim=(0, 102))
        axes.set_xticks(values, values)
        axes.minorticks_off()
        axes.grid(color="#e5e7eb", linewidth=0.6)
    panels[0].set_ylabel("percent")
    panels[0].legend(loc="center right")
    return figure


def put_between(path, mark, text):
    """Replace what stands between two marks of a Markdown file."""
    before, _, rest = path.read_text(encoding="utf-8").partition(f"<!-- {mark} -->\n")
    _, _, after = rest.partition(f"<!-- end of {mark} -->\n")
    outputs.write_text(path, f"{before}<!-- {mark} -->\n{text}\n<!-- end of {mark} -->\n{after}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the trained nets are kept")
    args = parser.parse_args()
    settings = Params(ROOT / "params.yaml").settings(DETECTOR.settings, "detectors", DETECTOR.name)
    rows = list(study(args.folder, settings))
    docs = ROOT / "docs"
    outputs.write_csv(docs / "suspects.csv", rows)
    own_size = [
        row for row in rows if (row["images"], row["occluders"]) == (settings.images, settings.occluders)
    ]
    for mark in ("clean", "backdoored", "hard"):
        put_between(docs / "suspects.md", mark, table([row for row in own_size if row["kind"] == mark]))
    with figures.style():
        figures.save(curve(rows, settings), docs / "suspects.png")


if __name__ == "__main__":
    commands.run(main)

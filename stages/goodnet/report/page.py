"""What the page shows, gathered as numbers, words and pictures that `html` puts into one file."""

import base64
import hashlib
import io
import math
import platform
from importlib import metadata

import numpy as np
from PIL import Image

from goodnet.cli import __version__
from goodnet.nets import goodnets
from goodnet.report import text
from goodnet.report.figures import FAMILIES, MOST_GOALS
from goodnet.suspects import findings, inverter
from goodnet.suspects.inverter import ANY

PACKAGES = "tensorflow", "keras", "numpy", "h5py", "dvc"
SPREAD, MISTAKES = 12, 3  # images of each file: so many evenly spread, and of each net's mistakes
MOST_TRIGGERS, MOST_REPAIRS = 12, 8  # whose images and curves, and whose mistakes, are shown
LETTERS = 2_400_000  # that all pictures may take in the page
SIDE = 128  # pixels; larger images are shown smaller


# The top


def top(evidence, found, recommended, badnet, goodnet, images, note=None):
    """Return the first words and figures.

    Parameters
    ----------
    evidence, found
        From `findings.read`.
    recommended : dict
        What reports/recommended.json holds.
    badnet : dict
        The BadNet's metrics.
    goodnet : dict of dict
        {repair: the GoodNet's metrics}.
    images : dict
        {"clean" or trigger: how many}.
    note : str, optional
        What is to be said of the test images.
    """
    name, why = recommended["recommended"], recommended["why"]
    chosen = goodnet.get(name)
    files = {"before": "reports/badnet.json", "after": f"reports/goodnet/{name}.json"}

    def figure(title, what, key, value):
        before, after = value(badnet), chosen and value(chosen)
        sources = [files[when] for when, it in (("before", before), ("after", after)) if it]
        return {"title": title, "what": what, "key": key, "before": before, "after": after, "from": sources}

    return {
        "word": found.word,
        "found": findings.sentence(evidence, found),
        "recommended": name if chosen else None,
        "why": why.removeprefix(f"*{name}*: ") if chosen else why,
        "cost": " ".join(filter(None, (_cost(badnet, chosen, images), note))),
        "figures": [
            figure(
                "Attack success",
                "images with a trigger that get the attacker's class; the strongest trigger",
                "attack_success",
                lambda metrics: _worst(max, metrics["attack_success"], images),
            ),
            figure(
                "Accuracy",
                "clean images that get their own class",
                "clean_accuracy",
                lambda metrics: rate(metrics["clean_accuracy"], images["clean"]),
            ),
            figure(
                "Detected",
                'images with a trigger answered "backdoored"; the least detected trigger',
                "detected",
                lambda metrics: _worst(min, metrics.get("detected"), images),
            ),
        ],
    }


def rate(percent, images):
    """Return a percentage of so many images with its 95 % interval (Wilson)."""
    z, share = 1.96, percent / 100
    middle = (share + z * z / (2 * images)) / (1 + z * z / images)
    half = z * math.sqrt(share * (1 - share) / images + (z / (2 * images)) ** 2) / (1 + z * z / images)
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return {"percent": percent, "images": images, "low": round(100 * low, 2), "high": round(100 * high, 2)}


def _worst(worst, rates, images):
    """Return the rate of the trigger that is worst for the defender, or None where none is known."""
    if not rates:
        return None
    name = worst(sorted(rates), key=rates.get)
    return rate(rates[name], images[name]) | {"trigger": name}


def _cost(badnet, chosen, images):
    if not chosen:
        return "No repair is recommended, so there is no cost to state."
    before, after = badnet["clean_accuracy"], chosen["clean_accuracy"]
    cost = (
        f"On {images['clean']} clean test images, accuracy goes from {before:.1f} to {after:.1f} %, "
        f"and {chosen['false_alarm']:.1f} % are called backdoored by mistake"
    )
    if not badnet["attack_success"]:
        return (
            f"{cost}; whether an attack still succeeds was not tested, since there were no poisoned images."
        )
    before, after = (max(metrics["attack_success"].values()) for metrics in (badnet, chosen))
    return f"{cost}; the strongest trigger succeeds on {after:.1f} % of its images instead of {before:.1f} %."


def verdict_alone(net, classes, evidence, found, shown, reproduce):
    """Return what the page of a verdict shows, where nothing was repaired and nothing measured.

    Parameters
    ----------
    net : str
        What it is called.
    classes : int
    evidence, found
        As `findings.read` returns them.
    shown : dict
        {goal: a clean image that is no such class}.
    reproduce : dict
        Settings ("params"), "versions", "hashes" and "commands".
    """
    told = findings.metrics(evidence, found)
    return {
        "net": net,
        "classes": classes,
        "top": {
            "word": found.word,
            "found": findings.sentence(evidence, found),
            "recommended": None,
            "why": "This is the verdict on one net. No repair was made.",
            "cost": None,
            "figures": [],
        },
        "suspects": suspects(evidence, found, told, {goal: (clean, {}) for goal, clean in shown.items()}),
        "reproduce": reproduce,
    }


def digest(path):
    """Return a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions():
    """Return {package: version} of what a run depends on."""
    found = {"goodnet": __version__, "python": platform.python_version()}
    return found | {name: metadata.version(name) for name in PACKAGES}


# The curve


def curve(steps, attack, meaning, marks, images):
    """Return the pruning curve, or None where no repair prunes.

    Parameters
    ----------
    steps, attack : list of dict
        The rows of reports/curve.csv and reports/attack_curve.csv.
    meaning : str
        Which channels go first.
    marks : dict
        {repair: channels it prunes}.
    images : dict
        {"clean" or trigger: how many}.
    """
    if not steps:
        return None

    def column(rows, name):
        return [round(float(row[name]), 2) for row in rows]

    def each(prefix):
        names = [name for name in attack[0] if name.startswith(f"{prefix}.")][:MOST_TRIGGERS]
        return {name.removeprefix(f"{prefix}."): column(attack, name) for name in names}

    return {
        "layer": steps[0]["layer"],
        "meaning": meaning,
        "channels": [int(row["channel"]) for row in steps[1:]],
        "validation": column(steps, "clean_accuracy"),
        "accuracy": column(attack, "clean_accuracy"),
        "attack": each("attack_success"),
        "false_alarm": column(attack, "false_alarm"),
        "detected": each("detected"),
        "marks": marks,
        "images": images,
    }


# The repairs


def repairs(lines, plans, repaired, goodnet, judged, recommended):
    """Return a list of all repairs, each with what was done and what came of it.

    Parameters
    ----------
    lines : dict
        {repair: its line of params.yaml}.
    plans, repaired, goodnet : dict of dict
        {repair: its plan, the metrics of the repaired net and of the GoodNet}.
    judged, recommended : dict
        What reports/suspects.json and reports/recommended.json hold.
    """
    attacks = {one["name"]: one for one in judged.get("repaired", [])}
    return [
        {
            "name": name,
            "recommended": name == recommended["recommended"],
            "done": text.in_words(line).replace("*", ""),
            "plan": {key: plans[name].get(key) for key in ("tune", "settings", "channels", "goals")},
            "held_out": plans[name].get("held_out"),
            "repaired": repaired[name],
            "goodnet": goodnet[name],
            "held_out_accuracy": recommended["held_out_accuracy"].get(name),
            "outcome": attacks.get(name, {}).get("outcome", "not attacked"),
            "ratio": attacks.get(name, {}).get("ratio"),
            "moved": attacks.get(name, {}).get("moved"),
        }
        for name, line in lines.items()
    ]


# The images


def chosen(said, repaired):
    """Return {"clean" or trigger: numbers of the images to show, ascending}: evenly spread, and mistakes.

    Parameters
    ----------
    said : dict
        {"clean" or trigger: (B's answers, labels)}.
    repaired : dict
        {repair: the same of the repaired net}.
    """
    numbers = {}
    for name in list(said)[: MOST_TRIGGERS + 1]:
        badnet, labels = said[name]
        # A mistake on a clean image is another answer than B's, a false alarm, or B's own.
        wrong = [badnet != labels]
        for answers in list(repaired.values())[:MOST_REPAIRS]:
            others = answers[name][0]
            wrong.append(others != badnet if name == "clean" else others == labels)
        found = [_evenly(np.flatnonzero(mistakes), MISTAKES) for mistakes in wrong]
        numbers[name] = np.unique(np.concatenate([_evenly(np.arange(len(labels)), SPREAD), *found]))
    return numbers


def _evenly(numbers, most):
    places = np.linspace(0, len(numbers) - 1, min(most, len(numbers)))
    return numbers[places.round().astype(int)]


def images(pictures, said, sure, repaired, repaired_sure, classes, room):
    """Return a list of images to show with all answers, as many as there is room for.

    Parameters
    ----------
    pictures : dict
        {"clean" or trigger: {number: image}}.
    said, repaired
        As for `chosen`.
    sure, repaired_sure : dict
        The same of how sure each net is, in percent.
    classes : int
        The answer that means backdoored.
    room : int
        Letters that the pictures may take.
    """
    queues = {name: list(ones.items()) for name, ones in pictures.items()}
    shown, letters = [], 0
    while any(queues.values()):  # files take turns, so that none is left out where room is short
        for name in [name for name, queue in queues.items() if queue]:
            # From the middle, so that what is left out is no end of the file.
            number, image = queues[name].pop(len(queues[name]) // 2)
            source = picture(image)
            letters += len(source)
            if letters > room and shown:
                queues = {}
                break
            badnet, labels = said[name]
            answers = {
                repair: {
                    "answer": int(given[name][0][number]),
                    "sure": _sure(repaired_sure[repair], name, number),
                    "goodnet": int(goodnets.answers(badnet[number], given[name][0][number], classes)),
                }
                for repair, given in repaired.items()
            }
            shown.append(
                {
                    "file": name,
                    "number": int(number),
                    "label": int(labels[number]),
                    "picture": source,
                    "badnet": {"answer": int(badnet[number]), "sure": _sure(sure, name, number)},
                    "repaired": answers,
                }
            )
    order = list(said)
    return sorted(shown, key=lambda one: (order.index(one["file"]), one["number"]))


def _sure(sure, name, number):
    return float(sure[name][number]) if name in sure else None


def picture(image):
    """Return an image as a PNG in a data URL; one with a side of more than SIDE pixels is made smaller."""
    drawn = Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image)
    drawn.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    file = io.BytesIO()
    drawn.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def room_beside(suspects):
    """Return how many letters are left for other pictures."""
    goals = suspects["goals"]
    sources = [goal["clean"] for goal in goals] + [one for goal in goals for one in goal["true"].values()]
    sources += [one[key] or "" for goal in goals for one in goal["found"] for key in ("stamped", "alone")]
    return LETTERS - sum(map(len, sources))


# The suspects


def suspects(evidence, found, judged, shown):
    """Return what was found for each class, the triggers, and what each repair did to them.

    Parameters
    ----------
    evidence, found
        From `findings.read`.
    judged : dict
        What reports/suspects.json holds.
    shown : dict
        {goal: (clean image, {true trigger's name: image with it})}, of the goals to show.
    """
    tests = {one["class"]: one["tests"] for one in judged["classes"]}
    return {
        "why_none": f"Nothing was searched, since {found.reason}." if found.reason else None,
        "named": found.named,
        "doubtful": found.doubtful,
        "strengths": [round(value, 2) for value in np.median(found.totals, axis=0).tolist()],
        "foremost": judged["foremost"],
        "sizes": _sizes(evidence, found),
        "goals": [
            {
                "goal": _goal(goal),
                "tests": tests.get(goal),
                "leads": judged.get("leads", {}).get("to") if goal == ANY else None,
                "clean": picture(clean),
                "found": _triggers(evidence, goal, clean),
                "true": {name: picture(image) for name, image in true.items()},
                "repairs": _withstood(judged, _goal(goal)),
            }
            for goal, (clean, true) in list(shown.items())[:MOST_GOALS]
        ],
    }


def _goal(goal):
    return "any" if goal == ANY else goal


def _sizes(evidence, found):
    """Return for each family of triggers the smallest size that leads to each class that was tried."""
    columns = evidence["inversion"].columns if "inversion" in evidence else {}
    families = []
    for column in columns:
        if not column.endswith("_size"):
            continue
        family = column.removesuffix("_size")
        values = columns[column]
        tried = np.flatnonzero(np.isfinite(values))
        others = [values[number] for number in tried if number not in found.named]
        title, unit = FAMILIES.get(family, (family, "percent"))
        families.append(
            {
                "title": title,
                "unit": unit,
                "largest": inverter.FAMILIES[family].largest if family in inverter.FAMILIES else None,
                "usual": float(np.median(others)) if others else None,
                "classes": [{"class": int(one), "size": round(float(values[one]), 4)} for one in tried],
            }
        )
    return families


def _triggers(evidence, goal, clean):
    """Return the best trigger of each family, laid over the clean image."""
    best = {}
    for one in findings.best_triggers(evidence, goal):
        best.setdefault(one.family, one)
    found = []
    for family in sorted(best, key=[*FAMILIES, *best].index):
        one = best[family]
        laid = inverter.laid(clean, one.keep, one.add)
        strongest = max(np.abs(one.add).max(), 1e-9)
        faint = (one.keep == 1).all()
        found.append(
            {
                "family": FAMILIES.get(family, (family,))[0],
                "size": float(one.size),
                "moved": float(one.moved),
                "stamped": picture(_pixels(laid)),
                "alone": picture(_pixels(127.5 + 127.5 / strongest * one.add)) if faint else None,
                "times": float(127.5 / strongest) if faint else None,
            }
        )
    return found


def _pixels(image):
    return np.clip(image, 0, 255).round().astype(np.uint8)


def _withstood(judged, goal):
    """Return how each repair withstood a fresh attack towards one goal."""
    return [
        {"name": repair["name"], "outcome": repair["outcome"], **attack}
        for repair in judged.get("repaired", [])
        for attack in repair["goals"]
        if attack["class"] == goal
    ]

"""What was found in a net, in files and in words."""

import json

import h5py
import numpy as np

from goodnet.errors import InputError
from goodnet.files.outputs import replacing
from goodnet.suspects import verdict
from goodnet.suspects.evidence import SEARCHES, Evidence, Leads, Trigger
from goodnet.suspects.inverter import ANY

FEWEST_IMAGES = 16
FOREMOST = 5  # classes that are reported, named or not
MOST_SPOKEN, FEWEST_GOALS = 4, 3  # classes to unlearn beside the named ones; and where nothing is suspected
FEW_CLASSES = 6  # a net that tells fewer apart gives the named one too few to be compared with
KINDS = {
    "occluder": "a random pattern that hides {size:.1f} % of the image",
    "patch": "a patch of {size:.2f} % of the image",
    "additive": "a faint pattern over the whole image",
}


def check_count(path, images):
    if images < FEWEST_IMAGES:
        raise InputError(f"{path}: holds {images} images; the search needs at least {FEWEST_IMAGES}")


def write(path, evidence, found):
    """Write {detector: Evidence} and the Verdict."""
    with replacing(path) as partial, h5py.File(partial, "w") as file:
        words = {
            name: getattr(found, name) for name in ("word", "named", "doubtful", "stable", "reason", "given")
        }
        words["leads"] = found.leads and vars(found.leads) | {"to": list(found.leads.to.items())}
        file.attrs["verdict"] = json.dumps(words)
        # The order stands here: groups that track it note the time as well, and no two files were the same.
        file.attrs["columns"] = json.dumps({name: list(one.columns) for name, one in evidence.items()})
        file["totals"] = found.totals
        for name, one in evidence.items():
            group = file.create_group(f"evidence/{name}")
            group["strength"] = one.strength
            columns = group.create_group("columns")
            for column, values in one.columns.items():
                columns[column] = values
            triggers = group.create_group("triggers")
            for number, trigger in enumerate(one.triggers):
                its = triggers.create_group(f"{number:04}")
                for key, value in vars(trigger).items():
                    if key in ("keep", "add"):
                        its.create_dataset(key, data=value, compression="gzip", compression_opts=4)
                    else:
                        its.attrs[key] = value


def read(path):
    """Return {detector: Evidence} and the Verdict that `write` wrote."""
    evidence = {}
    with h5py.File(path) as file:
        words = json.loads(file.attrs["verdict"])
        leads = words["leads"] and Leads(**words["leads"] | {"to": dict(words["leads"]["to"])})
        found = verdict.Verdict(**words | {"leads": leads}, totals=file["totals"][()])
        for name, names_of_columns in json.loads(file.attrs["columns"]).items():
            group = file[f"evidence/{name}"]
            triggers = [
                Trigger(**_numbers(its.attrs), keep=its["keep"][()], add=its["add"][()])
                for its in group["triggers"].values()
            ]
            columns = {column: group["columns"][column][()] for column in names_of_columns}
            evidence[name] = Evidence(group["strength"][()], columns, triggers)
    return evidence, found


def _numbers(attributes):
    return {key: value.item() if hasattr(value, "item") else value for key, value in attributes.items()}


def goals(found):
    """Return what a repair must hold against: the named classes, and ANY for an all-to-all backdoor."""
    return [*found.named, *([ANY] if found.leads else [])]


def suspected(found):
    """Return what is worth unlearning, the foremost first: what was named, and what something speaks for.

    Where nothing speaks for any class they are the foremost classes all the same: an attacker's that was
    missed is likeliest among them, and nothing is lost by closing a way that is not there.
    """
    middle = np.median(found.totals, axis=0)
    order = [number for number in np.argsort(-middle, kind="stable").tolist() if number not in found.named]
    spoken = [number for number in order if middle[number] >= verdict.SPEAKS]
    return [*goals(found), *spoken[:MOST_SPOKEN]] or order[:FEWEST_GOALS]


def best_triggers(evidence, goal):
    """Return the triggers that lead to a goal, the one that moves most for its size first."""
    found = [one for part in evidence.values() for one in part.triggers if one.goal == goal]
    return sorted(found, key=lambda one: (one.family == "occluder", one.moved < 50, one.size))


def metrics(evidence, found, outcomes=None):
    """Return what is reported of a net and, if there are any, of its repairs.

    What DVC is to compare are words and numbers; it passes over lists, so these hold the rest.

    Parameters
    ----------
    evidence : dict
        {detector: Evidence}.
    found : verdict.Verdict
    outcomes : dict, optional
        {repair: what reports/attack/<repair>.json holds, and the "outcome"}.
    """
    totals = np.median(found.totals, axis=0)
    unnamed = np.delete(totals, found.named)
    reported = {
        "verdict": found.word,
        "named": names(found.named),
        "doubtful": names(found.doubtful),
        "all_to_all": bool(found.leads),
        "stable": found.stable,
        "of_searches": SEARCHES,
        "next_strength": float(unnamed.max()) if unnamed.size else 0.0,
    }
    if found.reason:
        reported["reason"] = found.reason
    if "occluders" in evidence:
        reported["score"] = float(evidence["occluders"].columns["score"].max())
    if found.leads:
        reported["leads"] = {
            "moved": found.leads.moved,
            "to": ", ".join(f"{one} to {other}" for one, other in found.leads.to.items()),
        }
    reported["classes"] = [_class(evidence, totals, number) for number in found.named]
    reported["foremost"] = _foremost(evidence, totals)
    if goals(found) and outcomes:
        by_word = {"held": "held_in", "not held": "lost_in", "cannot tell": "cannot_tell_in"}
        for word, key in by_word.items():
            reported[key] = names(name for name, one in outcomes.items() if one["outcome"] == word)
        reported["repaired"] = [{"name": name, **one} for name, one in outcomes.items()]
    return reported


def _foremost(evidence, totals):
    """Return what all detectors say of the classes they point to most, none where none was asked."""
    order = np.argsort(-totals, kind="stable")[:FOREMOST].tolist()
    return [_class(evidence, totals, number) for number in order if evidence]


def _class(evidence, totals, number):
    """Return what all detectors say of a class; what was not tried is left out."""
    row = {"class": number, "strength": float(totals[number])}
    for one in evidence.values():
        values = {name: float(values[number]) for name, values in one.columns.items()}
        row |= {name: value for name, value in values.items() if np.isfinite(value)}
    strengths = {name: float(np.median(one.strength[:, number])) for name, one in evidence.items()}
    return row | {"tests": names(name for name, value in strengths.items() if value >= verdict.SPEAKS)}


def strengths(evidence, found):
    """Return a line for each of the foremost classes, with what each detector makes of it."""
    totals = np.median(found.totals, axis=0)
    rows = [
        _class(evidence, totals, number) for number in np.argsort(-totals, kind="stable")[:FOREMOST].tolist()
    ]
    lines = []
    for row in rows if evidence else []:
        values = [
            f"{name.replace('_', ' ')} {value:.2f}" for name, value in row.items() if isinstance(value, float)
        ]
        lines.append(f"class {row['class']}: {', '.join(values)}")
    return lines


def names(those):
    return ", ".join(map(str, those)) or "none"


def sentence(evidence, found):
    """Say in words that need no statistics what was found in a net."""
    if found.reason:
        return f"Cannot tell: {found.reason}."
    agreed = f"{found.stable} of {SEARCHES} searches agree"
    few = ""
    if len(found.totals[0]) < FEW_CLASSES:
        few = f" With fewer than {FEW_CLASSES} classes there is little to compare with: a hint only."
    if found.word == verdict.NOTHING:
        return (
            f"No sign of a backdoor ({agreed}): no class takes a trigger far smaller than the others do. "
            f"That is no proof.{few}"
        )
    if found.word == verdict.CANNOT_TELL:
        takes = "es {} take" if len(found.doubtful) > 1 else " {} takes"
        return (
            f"Cannot tell: class{takes.format(names(found.doubtful))} a smaller trigger than most, but not "
            f"so small, or not in every search, that it must be an attacker's.{few}"
        )
    said = [
        f"{_moves(evidence, number)} to class {number}" for number in found.named if number != found.given
    ]
    if found.leads:
        said.append(f"{_moves(evidence, ANY)}, each class to another of its own (all to all)")
    given = ""
    if found.given is not None:
        given = f"Class {found.given} is the attacker's, as was said; {_moves(evidence, found.given)} to it. "
        if not said:
            return f"{given}No other class was named.{few}"
    return f"{given}Likely backdoored ({agreed}): {'; '.join(said)}. That is what the attacker wants.{few}"


def _moves(evidence, goal):
    best = best_triggers(evidence, goal)
    if not best:
        return "images can be moved"
    what = KINDS.get(best[0].family, best[0].family).format(size=best[0].size)
    return f"{what} moves {best[0].moved:.0f} % of clean images"

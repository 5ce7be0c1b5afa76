"""Has a repair held? Attack the repaired net anew, and compare with classes that nobody named.

The attacks on each named class are those of the inversion: a patch and a faint pattern over the whole
image, from what was found for B, with room to move, and from scratch. The same is done for classes that
were not named. A repair has held only if both families need for the named class about what they need for
the others, and what was found for B no longer moves images. Where that moves most of them, the repair is
lost whatever a search finds, so none is made.
"""

import numpy as np

from goodnet.images import datasets
from goodnet.nets import loading, parts
from goodnet.settings import Percent, Positive, Settings, setting
from goodnet.suspects import findings, inversion
from goodnet.suspects.evidence import SEARCHES
from goodnet.suspects.inverter import ANY, FAMILIES, Inverter

HELD, LOST, CANNOT_TELL, NOT_ATTACKED = "held", "not held", "cannot tell", "nothing to attack"
OTHERS = 6  # classes that nobody named, against which is compared
MOST_MOVED = 50  # percent of images that a trigger of B may still move before a repair counts as lost
SMALL = 0.6  # of the usual size in B: a trigger that is larger told of no backdoor
ROOM = 0.1  # of a mask that B's trigger starts from, everywhere, so that it can move and grow


class Attack(Settings):
    """When a repair has held against a fresh attack."""

    held: Positive = setting(0.6, "if the attack needs at least this of what it needs for other classes;")
    lost: Positive = setting(
        0.4, "if it needs less than this, the repair has not held; between, nobody can tell"
    )
    transfer: Percent = setting(
        10, "and if B's triggers move at most so many percent of images to their classes"
    )


def attack(net, convert, images, triggers, goals, settings):
    """Attack a repaired net anew.

    Parameters
    ----------
    net : keras.Model
    convert : inputs.Input
    images : array (n, height, width, channels)
        Pixels.
    triggers : list of evidence.Trigger
        All that was found for B, of classes that were not named too.
    goals : list of int
        The classes named for B, and ANY for an all-to-all backdoor.
    settings : inversion.Inversion

    Returns
    -------
    list of dict
        For each goal its "class" ("any" for ANY) and the percent of images that the best trigger of B moves.
        Where that is below MOST_MOVED for all goals, also the sizes of the smallest triggers, their ratios
        to the median of the other classes, and whether those could be reached at all ("compared").
    """
    loading.make_reproducible(settings.seed)
    inverter = Inverter(parts.with_logits(net), convert, images)
    results = []
    for goal in goals:
        moved = [inverter.moved(goal, one.keep, one.add) for one in telling(triggers, goal)]
        results.append({"class": "any" if goal == ANY else goal, "moved": max(moved, default=0.0)})
    if any(one["moved"] >= MOST_MOVED for one in results):
        return results
    tried = [one for one in triggers if one.family == "patch" and one.goal not in (*goals, ANY)]
    tried.sort(key=lambda one: (one.size, one.goal))
    places = np.unique(np.linspace(0, len(tried) - 1, min(OTHERS, len(tried))).astype(int))
    others = [tried[place].goal for place in places]
    found = {
        family.name: _searched(inverter, family, [*goals, *others], triggers, settings)
        for family in FAMILIES.values()
    }
    for place, result in enumerate(results):
        for name, sizes in found.items():
            usual = float(np.median(sizes[len(goals) :])) if others else FAMILIES[name].largest
            result[f"{name}_size"] = float(sizes[place])
            result[f"{name}_ratio"] = float(sizes[place] / max(usual, 1e-9))
            result["compared"] = result.get("compared", False) or usual < FAMILIES[name].largest
    return results


def attack_found(net, convert, images, evidence, found, settings):
    """Attack a repaired net at what was named for B, and return the `figures`.

    Parameters
    ----------
    net : keras.Model
    convert : inputs.Input
    images : datasets.Images or datasets.Arrays
        As pixels.
    evidence : dict
        {detector: Evidence} of B.
    found : verdict.Verdict
        On B.
    settings : inversion.Inversion
    """
    shown = datasets.spread(images, settings.images)[0]
    triggers = [one for part in evidence.values() for one in part.triggers]
    return figures(attack(net, convert, shown, triggers, findings.goals(found), settings))


def judge(told, judged):
    """Return the `figures` of an attack with its outcome, by an Attack."""
    return {"outcome": outcome(told["goals"], judged), **told}


def telling(triggers, goal):
    """Return the triggers of a goal that told of a backdoor in B: smaller than is usual there.

    Others are ordinary perturbations, which carry over to any net that is like B.
    """
    found = []
    for one in triggers:
        others = [
            other.size for other in triggers if other.family == one.family and other.goal not in (goal, ANY)
        ]
        usual = np.median(others) if others and one.family in FAMILIES else np.inf
        found += [one] if one.goal == goal and one.size < SMALL * usual else []
    return found


def _searched(inverter, family, goals, triggers, settings):
    """Return the smallest size of each goal in three searches; the first starts from B's triggers."""
    rng = np.random.default_rng(settings.seed)
    rows = np.repeat(goals, SEARCHES)
    values = family.start(rng, len(rows), inverter.images.shape[1:])
    for place, goal in enumerate(goals):
        known = [one for one in triggers if one.goal == goal]
        # Of this family if there is one; what moves most.
        known.sort(key=lambda one: (one.family != family.name, -one.moved))
        if known:
            begun = family.of_trigger(known[0].keep[None], known[0].add[None])
            for value, own in zip(values, family.loosened(begun, ROOM), strict=True):
                value[place * SEARCHES] = own[0]
    found = inverter.invert(
        family,
        rows,
        inversion.steps_of(family, settings),
        settings.batch_size,
        rng,
        values,
        f"fresh attack, {family.name}",
    )
    return found.sizes.reshape(-1, SEARCHES).min(axis=1)


def figures(results):
    """Return what is reported of a fresh attack, of all goals together."""
    told = {"goals": results}
    if results:
        told["moved"] = max(one["moved"] for one in results)
    if any("patch_ratio" in one for one in results):
        told["ratio"] = min(map(ratio, results))
    return told


def ratio(result):
    """Return what an attack at one goal needs against what is usual; None where it was not searched."""
    return min(result["patch_ratio"], result["additive_ratio"]) if "patch_ratio" in result else None


def outcome(results, judged):
    """Return the word for what a fresh attack came to: that of the worst goal.

    Parameters
    ----------
    results : list of dict
        From `attack`.
    judged : Attack
    """
    words = {_word(one, judged) for one in results}
    return next((word for word in (LOST, CANNOT_TELL, HELD) if word in words), NOT_ATTACKED)


def _word(one, judged):
    needed = ratio(one)
    if one["moved"] >= MOST_MOVED:
        return LOST
    if needed is None:  # another goal settled it
        return CANNOT_TELL
    if needed < judged.lost:
        # Merely another answer is easy to get in an honest net of many classes too.
        return LOST if one["class"] != "any" or one["moved"] > judged.transfer else CANNOT_TELL
    is_held = one["compared"] and needed >= judged.held and one["moved"] <= judged.transfer
    return HELD if is_held else CANNOT_TELL

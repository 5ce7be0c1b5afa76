"""Has a repair held? Attack the repaired net anew, and compare with classes that nobody named.

The attacks on each named class are those of the inversion: a patch and a faint pattern over the whole
image, from what was found for B, with room to move, and from scratch. The same is done for classes that
were not named. A repair has held only if both families need for the named class about what they need for
the others, and what was found for B no longer moves images.
"""

from dataclasses import dataclass

import numpy as np

from goodnet.nets import loading, parts
from goodnet.suspects import inversion
from goodnet.suspects.evidence import SEARCHES
from goodnet.suspects.inverter import ANY, FAMILIES, Inverter

HELD, LOST, CANNOT_TELL, NOT_ATTACKED = "held", "not held", "cannot tell", "nothing to attack"
OTHERS = 6  # classes that nobody named, against which is compared
MOST_MOVED = 50  # percent of images that a trigger of B may still move before a repair counts as lost
ROOM = 0.1  # of a mask that B's trigger starts from, everywhere, so that it can move and grow


@dataclass
class Outcome:
    """How a repaired net withstands a fresh attack.

    Parameters
    ----------
    word : str
        HELD, LOST or CANNOT_TELL.
    goals : dict
        {class or ANY: {"patch_size", "patch_ratio", "additive_size", "additive_ratio", "moved"}}: the
        smallest triggers, their sizes against the median of the other classes, and the percent of images
        that the best trigger of B moves.
    """

    word: str
    goals: dict


def attack(net, convert, images, triggers, goals, settings, judged):
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
    judged : verdict.Suspect

    Returns
    -------
    Outcome
    """
    loading.make_reproducible(settings.seed)
    inverter = Inverter(parts.with_logits(net), convert, images)
    tried = [one for one in triggers if one.family == "patch" and one.goal not in (*goals, ANY)]
    tried.sort(key=lambda one: (one.size, one.goal))
    places = np.unique(np.linspace(0, len(tried) - 1, min(OTHERS, len(tried))).astype(int))
    others = [tried[place].goal for place in places]
    found = {
        family.name: _searched(inverter, family, [*goals, *others], triggers, settings)
        for family in FAMILIES.values()
    }
    results = {}
    for place, goal in enumerate(goals):
        result = results[goal] = {}
        for name, sizes in found.items():
            usual = float(np.median(sizes[len(goals) :])) if others else FAMILIES[name].largest
            result[f"{name}_size"] = float(sizes[place].min())
            result[f"{name}_ratio"] = float(sizes[place].min() / max(usual, 1e-9))
        result["moved"] = max(
            (
                inverter.moved(goal, one.keep, one.add, inverter.pool(goal, 1))
                for one in telling(triggers, goal, judged)
            ),
            default=0.0,
        )
    return Outcome(outcome(results, judged), results)


def telling(triggers, goal, judged):
    """Return the triggers of a goal that told of a backdoor in B: smaller than is usual there.

    Others are ordinary perturbations, which carry over to any net that is like B.
    """
    found = []
    for one in triggers:
        others = [
            other.size for other in triggers if other.family == one.family and other.goal not in (goal, ANY)
        ]
        usual = np.median(others) if others and one.family in FAMILIES else np.inf
        found += [one] if one.goal == goal and one.size < judged.held * usual else []
    return found


def _searched(inverter, family, goals, triggers, settings):
    """Return the smallest sizes, an array (goals, SEARCHES); the first search starts from B's triggers."""
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
    return found.sizes.reshape(-1, SEARCHES)


def outcome(results, judged):
    """Return the word for what a fresh attack came to: the worst of {goal: what it takes}."""
    words = {_word(goal, one, judged) for goal, one in results.items()}
    return next((word for word in (LOST, CANNOT_TELL) if word in words), HELD)


def _word(goal, one, judged):
    ratio = min(one["patch_ratio"], one["additive_ratio"])
    if one["moved"] >= MOST_MOVED:
        return LOST
    if ratio < judged.lost:
        # Merely another answer is easy to get in an honest net of many classes too.
        return LOST if goal != ANY or one["moved"] > judged.transfer else CANNOT_TELL
    return HELD if ratio >= judged.held and one["moved"] <= judged.transfer else CANNOT_TELL


def nothing_to_attack():
    """Return the figures of a repair of a net in which nothing was named."""
    return {"outcome": NOT_ATTACKED}


def metrics(attacked):
    """Return what is reported of an Outcome."""

    def worst(name, choose):
        return choose(one[name] for one in attacked.goals.values())

    return {
        "outcome": attacked.word,
        "ratio": min(worst("patch_ratio", min), worst("additive_ratio", min)),
        "moved": worst("moved", max),
        "goals": [{"class": "any" if goal == ANY else goal, **one} for goal, one in attacked.goals.items()],
    }

"""Which repair to use: of those that a fresh attack could not break, the one that clean images favour."""

import numpy as np

from goodnet.evaluation import metrics
from goodnet.images import datasets
from goodnet.nets import running
from goodnet.repairs.registry import TUNINGS
from goodnet.settings import Percent, Settings, setting
from goodnet.suspects.fresh import HELD, NOT_ATTACKED

COVERED = 0.9  # of the classes; with images of fewer, the cost of a repair is not seen as it is
COSTLY = 5  # points of accuracy; a repair that costs more is recommended with a warning
MOST = 1000  # images held out: they tell accuracies apart to within a point


class Recommend(Settings):
    """Which repair to use, by clean images that no tuning is trained on."""

    held_out: Percent = setting(
        10, "percent of the clean validation images that no tuning is trained on, 1000 at most"
    )


def count(images, percent):
    """Return how many of so many images no tuning is trained on: one at least."""
    return max(1, min(MOST, round(images * percent / 100)))


def trained_on(images, percent):
    """Return the numbers of the images that tunings are trained on; the others are spread evenly."""
    return np.setdiff1d(np.arange(images), datasets.evenly(images, count(images, percent)))


def right(net, convert, images, labels):
    """Return how many of these images, as pixels, a net gets right."""
    return int((running.answers(net, [convert(images)]) == labels).sum())


def shown_triggers(tunings):
    """Return the names of the repairs whose tuning looks at the suspects, of {repair: its tuning or None}."""
    return {name for name, tuning in tunings.items() if tuning and TUNINGS[tuning].wants_goals}


def choose(judged, correct, images, shown):
    """Return the name of the repair to use, or None.

    Parameters
    ----------
    judged : list of dict
        Of each repair its "name", the "outcome" of a fresh attack and its "ratio".
    correct : dict
        {name: how many held-out images the repaired net gets right}.
    images : int
        How many are held out.
    shown : set of str
        Repairs that were trained against triggers. That such a one has held says less: the fresh attack is of
        the kind that it was trained against.
    """
    held = [one for one in judged if one["outcome"] == HELD]
    most = max((correct[one["name"]] for one in held), default=0)

    def order(one):
        own = correct[one["name"]]
        # Within one standard error of the most, in whole numbers.
        is_near = (most - own) ** 2 * images <= most * (images - most)
        # Of equals, the one against which an attack needs more; then by name.
        return not (is_near and one["name"] not in shown), -own, -one["ratio"], one["name"]

    best = min(held, key=order, default=None)
    return best and best["name"]


def is_costly(own, of_b, images):
    """Return whether a repaired net loses much of what B gets right, by more than two standard errors."""
    lost = of_b - own
    error = own * (images - own) + of_b * (images - of_b)
    return 100 * lost > COSTLY * images and lost**2 * images > 4 * error


def figures(best, verdict, judged, correct, images, covered, classes):
    """Return what is reported of a recommendation; the parameters are those of `why`."""
    return {
        "recommended": best or "none",
        "why": why(best, verdict, judged, correct, images, covered, classes),
        "held_out_images": images,
        "held_out_accuracy": {name: metrics.percent(one, images) for name, one in correct.items()},
    }


def why(name, verdict, judged, correct, images, covered, classes):
    """Return the reason in a sentence.

    Parameters
    ----------
    name : str or None
        What `choose` returned.
    verdict : str
        On B.
    judged, correct
        As for `choose`; `correct` holds "badnet" too.
    images : int
        How many are held out.
    covered, classes : int
        Of how many classes there are clean images, and how many there are.
    """
    if name is None:
        if all(one["outcome"] == NOT_ATTACKED for one in judged):
            return f'None. The verdict on B is "{verdict}", so there is no class to attack the repairs at.'
        return "None. No repair has held against a fresh attack: trust none of these nets."
    held = [one["name"] for one in judged if one["outcome"] == HELD]
    among = "the only repair that has held against a fresh attack"
    if len(held) > 1:
        among = (
            f"of {len(held)} repairs that have held against a fresh attack, the one that is right most often"
        )
    if correct[name] < max(correct[one] for one in held):
        among += ", within one standard error, and was not trained against triggers"
    share, of_b = (100 * correct[one] / images for one in (name, "badnet"))
    more = ""
    if is_costly(correct[name], correct["badnet"], images):
        more += " It costs much accuracy; with more clean images a repair may cost less."
    if covered < COVERED * classes:
        more += (
            f" There are images of {covered} of {classes} classes: what it costs on the others is not known."
        )
    return (
        f"*{name}*: {among}. It gets {share:.1f} % of {images} clean images right "
        f"that no tuning was trained on (B: {of_b:.1f} %).{more}"
        " A backdoor to a class that nobody named may be left."
    )

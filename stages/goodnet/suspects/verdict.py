"""The verdict on a net: the evidence of all detectors put together.

The rule: each search of each detector gives each class a strength; a class is named if they add up to at
least 1 in two of three searches. Where they come near that, the verdict is "cannot tell".
"""

from dataclasses import dataclass

import numpy as np

from goodnet.errors import InputError
from goodnet.nets import parts, running
from goodnet.settings import Positive, Seed, Settings, Text, setting
from goodnet.suspects.evidence import SEARCHES, Leads

BACKDOORED, NOTHING, CANNOT_TELL = "backdoored", "no sign of a backdoor", "cannot tell"
LONE = 0.5  # of what is doubtful: the median that a class named by one search of three must have to be so
SPEAKS = 0.3  # the strength from which a detector is said to point to a class
ALIKE = 1e-3  # of the range of pixels: images that differ by less are the same image


class Suspect(Settings):
    """Who the attacker's classes are, from clean images alone."""

    detectors: list[Text] = setting(
        ["occluders", "push", "inversion"], "what looks for them, in this order; what they find is added up"
    )
    doubtful: Positive = setting(0.8, "strengths that add up to this, but not to 1, are called doubtful")
    target: Seed | None = setting(None, "the attacker's class, where it is known: it is named in any case")


@dataclass
class Verdict:
    """What all detectors together say of a net.

    Parameters
    ----------
    word : str
        BACKDOORED, NOTHING or CANNOT_TELL.
    named, doubtful : list of int
        Classes, ascending.
    totals : array (SEARCHES, classes)
        Strengths of all detectors.
    stable : int
        In how many of the searches the verdict is the same.
    leads : Leads or None
        An all-to-all backdoor.
    reason : str, optional
        Why nothing was searched.
    given : int, optional
        The named class that the user knew.
    """

    word: str
    named: list
    doubtful: list
    totals: np.ndarray
    stable: int
    leads: Leads | None
    reason: str | None = None
    given: int | None = None


def judge(case, detectors, settings):
    """Return {detector: Evidence} and the Verdict.

    Parameters
    ----------
    case : evidence.Case
    detectors : list of (Method, settings)
    settings : Suspect
    """
    reason = why_not(case)
    if reason:
        nothing = np.zeros((SEARCHES, parts.classes(case.badnet)))
        return {}, Verdict(CANNOT_TELL, [], [], nothing, SEARCHES, None, reason)
    if settings.target is not None and settings.target >= parts.classes(case.badnet):
        raise InputError(
            f"suspect.target is {settings.target}; the net has classes 0 to {parts.classes(case.badnet) - 1}"
        )
    case.known = settings.target
    for method, own in detectors:
        case.earlier[method.name] = method.function(case, own)
    return case.earlier, of(case.earlier, settings)


def why_not(case):
    """Return why nothing that a net says of images means anything, or None."""
    images = case.images(running.BATCH)
    if np.ptp(images, axis=0).max() <= 255 * ALIKE:
        return "the images are all alike; a verdict needs different ones"
    if parts.classes(case.badnet) < 2:
        return "the net knows one class only, so nothing can change its answer"
    scores = np.concatenate(list(running.run(case.badnet, [case.convert(images)])))
    if not np.isfinite(scores).all():
        return "the net's scores are not numbers (NaN or infinite)"
    answers = np.unique(scores.argmax(axis=1))
    if len(answers) == 1:
        return f"the net answers class {answers[0]} whatever image it is shown"
    return None


def of(evidence, settings):
    """Return the Verdict of {detector: Evidence}."""
    totals = np.sum([one.strength for one in evidence.values()], axis=0)
    reached = (totals >= 1).sum(axis=0)
    middle = np.median(totals, axis=0)
    named = np.flatnonzero((reached * 2 > SEARCHES) | (np.arange(len(reached)) == settings.target)).tolist()
    # What one search says and the others do not at all is chance.
    near = (middle >= settings.doubtful) | ((reached > 0) & (middle >= LONE * settings.doubtful))
    doubtful = [number for number in np.flatnonzero(near).tolist() if number not in named]
    leads = next((one.leads for one in evidence.values() if one.leads), None)
    word = BACKDOORED if named or leads else CANNOT_TELL if doubtful else NOTHING
    found = [number for number in named if number != settings.target]
    if settings.target is not None and not found:
        stable = SEARCHES
    elif named:
        stable = int(reached[found].min())
    elif leads:
        stable = leads.searches
    else:
        stable = int((totals < 1).all(axis=1).sum())
    return Verdict(word, named, doubtful, totals, stable, leads, given=settings.target)

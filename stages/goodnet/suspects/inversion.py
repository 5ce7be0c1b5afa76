"""The second detector: classes to which a far smaller trigger leads than to the others.

Every net can be moved to every class by a change that is large enough. To an attacker's class a small one
is enough, whatever the trigger is. So the smallest trigger of each class is searched
(goodnet.suspects.inverter), as a patch and as a faint pattern over the whole image, and its size is
compared with the median of the other classes. Where a net tells many classes apart, the detectors before
this one, the weights of its last layer and a few steps of the search itself say which are worth it.

A trigger that merely changes the answer, to whatever class, finds all-to-all backdoors: it is far smaller
than those that lead to a class, and each class leads to another one.
"""

from dataclasses import dataclass

import numpy as np

from goodnet.nets import loading, parts
from goodnet.settings import Count, Positive, Seed, Settings, setting
from goodnet.suspects import candidates
from goodnet.suspects.evidence import SEARCHES, Evidence, Leads, Trigger
from goodnet.suspects.inverter import ANY, FAMILIES, Additive, Inverter, Patch

SCREENED, SCREEN_STEPS, SCREEN_BATCH = 64, 20, 4  # classes whose search is begun, and how far
EVENLY = 4  # of the classes that are tried are not chosen by what speaks for them
FAINT = 8  # classes for which a faint pattern is searched
LEAST_LED = 0.6  # of the classes with enough images must lead to a class of their own,
OF_A_CLASS = 3  # which are so many images,
MOST_OF_ONE = 0.5  # and no class may get more of all moved images than this
QUARTILE = 0.75  # of the median that the lower quartile is at the least, in nets without a backdoor
BEHIND = 0.5  # what a class behind the widest gap has at the most,
MOST_UNREACHED = 0.5  # and every class, where no trigger was found for more than this share of them
MOST_OF_ALL = 50  # percent of images that an earlier detector's trigger must move to count
STRONGEST = 2.0  # that a strength can be, and its opposite for what speaks against a class


class Inversion(Settings):
    """The smallest trigger of each class: a class with one far smaller than the others is suspected."""

    seed: Seed = setting(1, "what the searches begin with, and which images come when")
    images: Count = setting(500, "clean validation images, spread over the file: half search, half judge")
    classes: Count = setting(16, "classes that are tried, where the net tells more apart")
    steps: Count = setting(60, "steps of each search for a patch; a faint pattern takes two thirds")
    batch_size: Count = setting(8, "images in each step of a search")
    ratio: Positive = setting(
        0.32,
        "a class is named by this alone if its trigger has less than this of the median size of the others,",
    )
    harmless: Positive = setting(0.75, "and nothing speaks for a class whose trigger has as much as this")


@dataclass
class Sizes:
    """The sizes of the smallest triggers of one family.

    Parameters
    ----------
    numbers : list of int
        The classes that were tried.
    ratios : array (classes tried, SEARCHES)
        Each size against the median of the other classes in the same search.
    sizes : array (classes tried, SEARCHES)
    found : inverter.Found
        A row for each class and search, class by class; those for ANY come last.
    """

    numbers: list
    ratios: np.ndarray
    sizes: np.ndarray
    found: object


def detect(case, settings):
    """Find the smallest trigger of each class, and compare them.

    Parameters
    ----------
    case : evidence.Case
    settings : Inversion

    Returns
    -------
    evidence.Evidence
    """
    loading.make_reproducible(settings.seed)
    net = parts.with_logits(case.badnet)
    inverter = Inverter(net, case.convert, case.images(settings.images))
    numbers = choose(case, net, inverter, settings)
    rng = np.random.default_rng(settings.seed)
    found = [search(inverter, Patch, numbers, settings, rng)]
    fewer = smallest(found[0], case.earlier, case.known)
    found.append(search(inverter, Additive, fewer, settings, rng))
    return evidence(found, parts.classes(net), case.earlier, inverter, settings)


def choose(case, net, inverter, settings):
    """Return the numbers of the classes to try, ascending."""
    classes = parts.classes(net)
    most = max(settings.classes, 2 * EVENLY)
    if classes <= most:
        return list(range(classes))
    rankings = [candidates.weights(case.badnet, classes)]
    rankings += [one.strength.sum(axis=0) for one in case.earlier.values()]
    screened = candidates.foremost(rankings, SCREENED, classes)
    rng = np.random.default_rng([settings.seed, 1])
    begun = inverter.invert(Patch, screened, SCREEN_STEPS, SCREEN_BATCH, rng, shown="screening")
    moved = [inverter.moved(*row) for row in zip(begun.goals, begun.keep, begun.add, strict=True)]
    ease = np.full(classes, -np.inf)
    ease[screened] = moved - begun.sizes  # percent both: what moves more by less
    wanted = most - EVENLY
    # In turn by the begun search and by each of what spoke for a class before.
    chosen = set(candidates.foremost([ease, *rankings], wanted, classes))
    chosen |= set() if case.known is None else {case.known}
    rest = np.array([number for number in range(classes) if number not in chosen])
    chosen |= set(rest[np.linspace(0, len(rest) - 1, most - len(chosen)).astype(int)].tolist())
    return sorted(chosen)


def smallest(found, earlier, known=None):
    """Return the classes for which a faint pattern is searched too: by their patch, by earlier detectors."""
    rankings = [-np.median(found.ratios, axis=1)]
    rankings += [one.strength.sum(axis=0)[found.numbers] for one in earlier.values()]
    chosen = [found.numbers[place] for place in candidates.foremost(rankings, FAINT, len(found.numbers))]
    return sorted({*chosen, *([] if known is None else [known])})


def search(inverter, family, numbers, settings, rng):
    """Return the Sizes of a family's triggers for these classes, and for ANY."""
    goals = np.repeat([*numbers, ANY], SEARCHES)
    found = inverter.invert(
        family,
        goals,
        steps_of(family, settings),
        settings.batch_size,
        rng,
        shown=f"inversion, {family.name}",
    )
    sizes = found.sizes.reshape(-1, SEARCHES)[:-1]
    return Sizes(list(numbers), ratios(sizes), sizes, found)


def steps_of(family, settings):
    return max(1, round(family.share_of_steps * settings.steps))


def ratios(sizes):
    """Return each size against what is usual for the others of its column.

    That is their median, or a little more than their lower quartile: where most classes cannot be reached
    at all, the median is the largest size there is, and says little.
    """
    others = [np.delete(sizes, row, axis=0) for row in range(len(sizes))]
    usual = [np.minimum(np.median(one, axis=0), np.quantile(one, 0.25, axis=0) / QUARTILE) for one in others]
    return sizes / np.maximum(usual, 1e-9)


def before_gap(sizes):
    """Return which sizes stand before the widest gap, each column in ascending order, of its smaller half.

    In a net with one strong trigger, other classes profit from it: parts of it, and patterns like it, lead
    to them. What lies behind the widest gap is such a class, or an innocent one.
    """
    ordered = np.sort(np.maximum(sizes, 1e-9), axis=0)
    half = max(1, len(sizes) // 2)
    gaps = ordered[1 : half + 1] / ordered[:half]
    if not len(gaps):
        return np.ones(sizes.shape, bool)
    last = np.take_along_axis(ordered, gaps.argmax(axis=0)[None], axis=0)
    return np.maximum(sizes, 1e-9) <= last


def strength(sizes, largest, settings):
    """Return how strongly sizes speak for a class: 0 at `harmless`, 1 at `ratio`, linear in the logarithm.

    Parameters
    ----------
    sizes : array (classes tried, SEARCHES)
    largest : float
        The size of a class to which no trigger was found.
    settings : Inversion
    """
    span = np.log(settings.harmless / settings.ratio)
    found = np.log(settings.harmless / np.maximum(ratios(sizes), 1e-6)) / span
    is_plain = before_gap(sizes) & (np.mean(sizes >= largest, axis=0) <= MOST_UNREACHED)
    return np.clip(found, -STRONGEST, np.where(is_plain, STRONGEST, BEHIND))


def evidence(found, classes, earlier, inverter, settings):
    """Return the Evidence of the Sizes of all families."""
    columns, triggers = {}, []
    strengths = np.full((SEARCHES, classes), -np.inf)
    for family, one in zip(FAMILIES.values(), found, strict=True):
        own = strength(one.sizes, family.largest, settings).T
        strengths[:, one.numbers] = np.maximum(strengths[:, one.numbers], own)
    strengths[np.isinf(strengths)] = 0  # not tried
    strengths[:, missed(found, earlier)] = np.maximum(strengths[:, missed(found, earlier)], 0)
    for family, one in zip(FAMILIES.values(), found, strict=True):
        for name, values in {"size": one.sizes, "ratio": one.ratios}.items():
            column = columns[f"{family.name}_{name}"] = np.full(classes, np.nan)
            column[one.numbers] = np.median(values, axis=1)
        for place in range(len(one.numbers)):
            row = place * SEARCHES + int(np.argmin(one.sizes[place]))
            triggers.append(trigger(inverter, family, one.found, row))
    leads, shared = all_to_all(inverter, found, settings)
    return Evidence(strengths, columns, triggers + shared, leads)


def missed(found, earlier):
    """Return the classes to which an earlier detector found a smaller patch than the search did.

    Where a net's slope is zero, a search finds nothing. That speaks for no class, but against none either.
    """
    patches = found[0]
    smallest = dict(zip(patches.numbers, patches.sizes.min(axis=1), strict=True))
    return sorted(
        {
            one.goal
            for part in earlier.values()
            for one in part.triggers
            if one.moved > MOST_OF_ALL and one.size < smallest.get(one.goal, 0)
        }
    )


def trigger(inverter, family, found, row):
    goal, keep, add = int(found.goals[row]), found.keep[row], found.add[row]
    return Trigger(goal, family.name, float(found.sizes[row]), inverter.moved(goal, keep, add), keep, add)


def all_to_all(inverter, found, settings):
    """Return the Leads of an all-to-all backdoor and its trigger in a list, or None and no trigger."""
    best, searches = None, 0
    for search_number in range(SEARCHES):
        seen = [
            lead
            for family, one in zip(FAMILIES.values(), found, strict=True)
            if (lead := _led(inverter, family, one, search_number, settings))
        ]
        searches += bool(seen)
        best = min(seen + ([best] if best else []), key=lambda one: one[0], default=None)
    if searches * 2 < SEARCHES:
        return None, []
    _, leads, made = best
    return Leads(made.moved, leads, searches), [made]


def _led(inverter, family, one, search_number, settings):
    """Return how small a search's trigger for ANY is, where each class leads to, and the trigger; or None."""
    row = len(one.numbers) * SEARCHES + search_number
    ratio = one.found.sizes[row] / max(float(np.median(one.sizes[:, search_number])), 1e-9)
    if ratio >= settings.ratio:
        return None
    numbers = inverter.pool(ANY, 1)
    own, given = (
        inverter.answers[numbers],
        inverter.answers_to(one.found.keep[row], one.found.add[row], numbers),
    )
    changed = given != own
    counts = np.bincount(given[changed], minlength=1)
    if not changed.any() or counts.max() > MOST_OF_ONE * changed.sum():
        return None
    to = {}
    enough = [number for number in np.unique(own) if (own == number).sum() >= OF_A_CLASS]
    for number in enough:
        answers, times = np.unique(given[changed & (own == number)], return_counts=True)
        if times.size and times.max() * 2 > (own == number).sum():
            to[int(number)] = int(answers[times.argmax()])
    if len(to) < LEAST_LED * len(enough) or len(set(to.values())) < LEAST_LED * len(to):
        return None
    return ratio, to, trigger(inverter, family, one.found, row)

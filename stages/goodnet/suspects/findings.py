"""Suspects: classes that an attacker seems to want, as the search found them, and what to say of them."""

from dataclasses import dataclass

import h5py
import numpy as np

from goodnet.errors import InputError
from goodnet.files.outputs import replacing
from goodnet.settings import Percent, Settings, Text, setting

FEWEST_IMAGES = 16
FOREMOST = 5  # classes that are reported, named or not
TRIED_FROM = 40  # classes; what it found in nets that tell fewer apart was often wrong


class Suspect(Settings):
    """Who the attacker's classes are, from clean images alone."""

    detector: Text = setting("occluders", "how they are found: one of the detectors")
    held: Percent = setting(
        25, "a repair has held if the same evidence changes fewer percent of images to the class"
    )


@dataclass
class Named:
    """A class that is named, and the trigger's shadow."""

    number: int
    moved: dict  # {net: percent of images that its patterns turn to it, one alone at a time}
    shadow: np.ndarray  # what all occluders that turned images to it have in common, over the mean image
    pattern: np.ndarray  # the best of them, over an image


@dataclass
class Finding:
    """What was found in a net, whose name here is None, and in its repairs.

    Arrays have an entry a class.
    """

    shares: dict  # {net: array}, for 100 pairs that fall to any class in the net itself
    scores: dict  # {net: array}, how far each stands out from all lesser classes: search.stand_out
    named: list  # of Named


def check_count(path, images):
    if images < FEWEST_IMAGES:
        raise InputError(f"{path}: holds {images} images; the search needs at least {FEWEST_IMAGES}")


def metrics(found, held):
    """Return what is reported of a Finding; a repair has held from which fewer than `held` percent are moved.

    What DVC is to compare are words and numbers; it passes over lists, so these hold the rest.
    """

    def of_class(net, number):
        share, score = float(found.shares[net][number]), float(found.scores[net][number])
        return {"class": number, "share": share, "score": score}

    def of_net(net):
        foremost = np.argsort(-found.shares[net], kind="stable")[:FOREMOST]
        return {
            "classes": [of_class(net, one.number) | {"moved": one.moved[net]} for one in found.named],
            "foremost": [of_class(net, int(number)) for number in foremost],
        }

    reported = {
        "named": _names(one.number for one in found.named),
        "score": float(found.scores[None].max()),
        **of_net(None),
    }
    repairs = [name for name in found.shares if name is not None]
    if found.named and repairs:
        still = {name: [one.number for one in found.named if one.moved[name] >= held] for name in repairs}
        reported["held_in"] = _names(name for name in repairs if not still[name])
        reported["repaired"] = [
            {"name": name, "named": _names(still[name]), **of_net(name)} for name in repairs
        ]
    return reported


def _names(those):
    return ", ".join(map(str, those)) or "none"


def write(path, found):
    """Write shares and pictures, for the report."""
    with replacing(path) as partial, h5py.File(partial, "w") as file:
        for name, shares in found.shares.items():
            file["shares" if name is None else f"repaired/{name}"] = shares
        for one in found.named:
            pictures = file.create_group(f"named/{one.number}")
            pictures["shadow"], pictures["pattern"] = one.shadow, one.pattern


def read(path):
    """Return {net: shares} and {class: (shadow, pattern)} of what `write` wrote."""
    with h5py.File(path) as file:
        repaired, named = file.get("repaired", {}), file.get("named", {})
        shares = {None: file["shares"][()]} | {name: repaired[name][()] for name in sorted(repaired)}
        return shares, {
            number: (named[str(number)]["shadow"][()], named[str(number)]["pattern"][()])
            for number in sorted(map(int, named))
        }


def sentence(found, classes):
    """Say in words that need no statistics what was found; `found` are a net's metrics."""
    few = (
        f" (A hint only: with fewer than {TRIED_FROM} classes this is often wrong.)"
        if classes < TRIED_FROM
        else ""
    )
    if not found["classes"]:
        return (
            "No sign of a backdoor: of thousands of random patterns laid over clean images, none changes "
            f"images of different classes to one class as a trigger does.{few}"
        )
    each = [f"{one['moved']:.0f} % of clean images to class {one['class']}" for one in found["classes"]]
    which = "That class is" if len(each) == 1 else "Those classes are"
    changed = ", others ".join(each)
    return f"Likely backdoored: random patterns change {changed}. {which} what the attacker wants.{few}"

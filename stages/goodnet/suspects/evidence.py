"""What detectors look at and what they return."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from goodnet.images.inputs import Input

SEARCHES = 3  # that share no chance; a verdict says in how many of them it holds


@dataclass
class Case:
    """What a detector may look at: a net, and clean images without labels.

    Parameters
    ----------
    badnet : keras.Model
    layer : str or None
        Where the net is split, if it is.
    images : callable
        Returns up to so many clean images, evenly spread over the file, as pixels.
    convert : inputs.Input
        Makes what the net takes of pixels.
    earlier : dict
        {detector: Evidence} of the detectors before this one.
    known : int, optional
        The attacker's class, where it is known.
    """

    badnet: object
    layer: str | None
    images: Callable
    convert: Input
    earlier: dict = field(default_factory=dict)
    known: int | None = None


@dataclass
class Trigger:
    """A trigger that a detector found. A stamped image is `keep` times the image plus `add`, in pixels.

    Parameters
    ----------
    goal : int
        The class it leads to, or inverter.ANY.
    family : str
        What kind of change it is.
    size : float
        In percent, as the family measures it.
    moved : float
        Percent of clean images that took no part in the search that it moves to the goal.
    keep : array (height, width, 1)
    add : array (height, width, channels)
    """

    goal: int
    family: str
    size: float
    moved: float
    keep: np.ndarray
    add: np.ndarray


@dataclass
class Leads:
    """A trigger under which each class leads to another of its own: an all-to-all backdoor.

    Parameters
    ----------
    moved : float
        Percent of clean images whose answer it changes.
    to : dict
        {class: the class that most of its images are moved to}.
    searches : int
        That found it, of SEARCHES.
    """

    moved: float
    to: dict
    searches: int


@dataclass
class Evidence:
    """What one detector found.

    Parameters
    ----------
    strength : array (SEARCHES, classes)
        How strongly each search points to each class. A class is named where the strengths of all detectors
        add up to 1; 0 says nothing, below 0 speaks against it.
    columns : dict
        {name: array (classes,)}, what the report shows of each class; NaN where a class was not tried.
    triggers : list of Trigger
        The best that were found.
    leads : Leads, optional
    """

    strength: np.ndarray
    columns: dict
    triggers: list
    leads: Leads | None = None

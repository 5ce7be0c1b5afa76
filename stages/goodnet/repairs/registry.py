"""All tunings: what `tune` in a line of `repairs` can be.

A tuning is a function of a `Task` and its settings. It trains `task.net` in place, on the clean images of the
task; all its randomness comes from `settings.seed`. To add one, write a module beside this one and add a line
here and its settings under `tunings` in params.yaml.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from goodnet.images.inputs import Input
from goodnet.methods import Method, Registry
from goodnet.pruning.channels import PrunedLayer
from goodnet.repairs import fine_tune, ft_sam, relearn, sparsify, unlearn
from goodnet.repairs.training import Progress


@dataclass
class Task:
    """What a tuning works on.

    Parameters
    ----------
    badnet : keras.Model
        The net before any repair.
    net : keras.Model
        The same with its channels pruned, to be trained.
    layer : str
        Where both are split; channels are those of this layer.
    pruned : PrunedLayer or None
        What makes the channels; None where they cannot be pruned.
    channels : list of int
        Those that are pruned, and stay so.
    goals : list of int
        The classes that are suspected, the foremost first; inverter.ANY for all to all.
    images : callable
        Returns the clean images with the numbers it is given, as pixels.
    labels : array of int
    convert : inputs.Input
        Makes what the net takes of pixels.
    progress : Progress
        Where a training keeps its state after each epoch.
    scratch : Path
        A folder on a disk, for nameless files.
    """

    badnet: object
    net: object
    layer: str
    pruned: PrunedLayer | None
    channels: list
    goals: list
    images: Callable
    labels: np.ndarray
    convert: Input
    progress: Progress
    scratch: Path


@dataclass(frozen=True)
class Tuning(Method):
    """A tuning.

    Parameters
    ----------
    wants_goals : bool
        Whether it looks at the goals of its task. Others are not done again when the suspects change.
    """

    wants_goals: bool = False


TUNINGS = Registry(
    "goodnet.tunings",
    Tuning,
    2,
    Tuning("relearn", relearn.relearn, relearn.Relearn),
    Tuning("unlearn", unlearn.unlearn, unlearn.Unlearn, wants_goals=True),
    Tuning("ft_sam", ft_sam.ft_sam, ft_sam.FtSam),
    Tuning("fine_tune", fine_tune.fine_tune, fine_tune.FineTune),
    Tuning("sparsify", sparsify.sparsify, sparsify.Sparsify),
)

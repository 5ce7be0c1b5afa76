"""All rankings: what `prune.order` can be.

A ranking is a function of the `Channels` and its settings. It returns a number for every channel; the channel
with the smallest is pruned first, ties go by channel number. To add one, write a module beside this one and
add a line here and its settings, if it has any, under `rankings` in params.yaml.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from goodnet.errors import InputError
from goodnet.methods import Method, Registry
from goodnet.pruning.rankings import activity, anp, kernels, rnp
from goodnet.settings import Settings, Text, setting


class Prune(Settings):
    """How channels are pruned."""

    order: Text = setting("ascending", "which channels go first: one of the rankings")


@dataclass
class Channels:
    """What a ranking may look at: the channels on clean images, their kernels, and the net itself.

    Parameters
    ----------
    table : list of dict
        A row for each channel, from profile_channels.
    kernel : array (height, width, inputs, channels) or None
        Of the convolution that makes the channels, times what batch normalisation multiplies it by; None if
        no convolution alone makes them.
    split_net : callable
        Returns a masks.SplitNet with so many clean images. Only rankings that run the net call it.
    """

    table: list
    kernel: np.ndarray | None
    split_net: Callable

    def column(self, name):
        return np.array([float(row[name]) for row in self.table])


COLUMNS = ["layer", "channel", "score"]

RANKINGS = Registry(
    "goodnet.rankings",
    Method,
    2,
    Method("ascending", activity.ascending),
    Method("descending", activity.descending),
    Method("random", activity.random, activity.Random),
    Method("apoz", activity.apoz),
    Method("l1", kernels.l1),
    Method("clp", kernels.clp),
    Method("anp", anp.anp, anp.ANP),
    Method("rnp", rnp.rnp, rnp.RNP),
)


def rank(ranking, settings, channels, layer):
    """Return the rows of `ranked` by a ranking (Method) and its settings, of the Channels of a layer."""
    scores = np.asarray(ranking.function(channels, settings))
    if scores.shape != (len(channels.table),) or scores.dtype.kind not in "biuf" or np.isnan(scores).any():
        raise InputError(
            f"the ranking {ranking.name!r} made no number for each of {len(channels.table)} channels"
        )
    return ranked(scores, layer)


def ranked(scores, layer):
    """Return a row for each channel, the first to be pruned first; ties go by channel number."""
    order = np.argsort(scores, kind="stable")
    return [{"layer": layer, "channel": int(channel), "score": scores[channel].item()} for channel in order]

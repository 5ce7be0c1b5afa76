"""All detectors: what `suspect.detector` can be.

A detector is a function of a `Case` and its settings, and returns a findings.Finding. To add one, write a
module beside this one and add a line here and its settings under `detectors` in params.yaml.
"""

from collections.abc import Callable
from dataclasses import dataclass

from goodnet.images.inputs import Input
from goodnet.methods import Method, registry
from goodnet.pruning.channels import PrunedLayer
from goodnet.suspects import search


@dataclass
class Case:
    """What a detector may look at: a net, its repairs, and clean images without labels.

    Parameters
    ----------
    badnet : keras.Model
    repaired : dict
        {name: keras.Model}, its repairs.
    layer : str or None
        Where all of them are split, if they are.
    pruned : PrunedLayer or None
        What makes this layer's channels, if they can be pruned.
    images : callable
        Returns up to so many clean images, evenly spread over the file, as pixels.
    convert : inputs.Input
        Makes what the net takes of pixels.
    """

    badnet: object
    repaired: dict
    layer: str | None
    pruned: PrunedLayer | None
    images: Callable
    convert: Input


DETECTORS = registry(Method("occluders", search.detect, search.Occluders))

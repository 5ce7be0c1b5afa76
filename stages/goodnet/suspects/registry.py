"""All detectors: what `suspect.detectors` can hold.

A detector is a function of a `Case` and its settings, and returns an `Evidence`; both are in evidence.py.
To add one, write a module beside this one and add a line here and its settings under `detectors` in
params.yaml.
"""

from goodnet.errors import InputError
from goodnet.methods import Method, Registry, chosen
from goodnet.suspects import inversion, push, search
from goodnet.suspects.verdict import Suspect

DETECTORS = Registry(
    "goodnet.detectors",
    Method,
    2,
    Method("occluders", search.detect, search.Occluders),
    Method("push", push.detect, push.Push),
    Method("inversion", inversion.detect, inversion.Inversion),
)


def read(params):
    """Return what params.yaml says: the settings of a verdict, and [(detector, its settings)]."""
    judged = params.settings(Suspect, "suspect")
    where = f"{params.path}: suspect.detectors"
    if not judged.detectors or len(set(judged.detectors)) < len(judged.detectors):
        raise InputError(f"{where} is {judged.detectors}; name each detector once, and one at least")
    methods = [chosen(DETECTORS, name, where) for name in judged.detectors]
    return judged, [(one, params.settings(one.settings, "detectors", one.name)) for one in methods]


def defaults():
    """Return the same where there is no params.yaml."""
    judged = Suspect()
    methods = [DETECTORS[name] for name in judged.detectors]
    return judged, [(one, one.settings()) for one in methods]

"""goodnet: finds and removes backdoors in image classifiers, using a few clean images."""

import importlib

# What users call, in goodnet.api: imported when it is first asked for, so that a command does without.
__all__ = [
    "REPAIRS",
    "Attack",
    "Evaluation",
    "Evidence",
    "Example",
    "Input",
    "InputError",
    "PruningCurve",
    "Recommendation",
    "Repaired",
    "Suspects",
    "Trigger",
    "attack",
    "evaluate",
    "find_suspects",
    "join",
    "load",
    "make_example",
    "prune",
    "pruning_curve",
    "rank",
    "recommend",
    "repair",
    "save",
]


def __getattr__(name):
    if name not in __all__:
        raise AttributeError(f"module 'goodnet' has no attribute {name!r}")
    return getattr(importlib.import_module("goodnet.api"), name)


def __dir__():
    return sorted([*globals(), *__all__])

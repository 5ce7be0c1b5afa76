"""Keras and TensorFlow, imported at their first use: that takes seconds, and many commands do without."""

import contextlib
import importlib
import sys


class Lazy:
    """A module that is imported when something of it is first asked for."""

    importing = contextlib.nullcontext  # what an import happens in; a command sets it for its own process

    def __init__(self, name):
        self._name = name

    def __getattr__(self, attribute):
        module = sys.modules.get(self._name)
        if module is None:
            with Lazy.importing():
                module = importlib.import_module(self._name)
        return getattr(module, attribute)


keras, tf = Lazy("keras"), Lazy("tensorflow")

"""Registries: the rankings, tunings and detectors there are, each a table of methods by name."""

from collections.abc import Callable
from dataclasses import dataclass

from goodnet.errors import InputError
from goodnet.settings import Settings


@dataclass(frozen=True)
class Method:
    """One way to do something.

    Parameters
    ----------
    name : str
        What params.yaml calls it.
    function : callable
        Does it. Its last argument is the settings; the registry says what comes before.
    settings : class of Settings, optional
        What can be set, in the method's own block of params.yaml.
    """

    name: str
    function: Callable
    settings: type[Settings] = Settings

    @property
    def meaning(self):
        """The first line of the function's docstring."""
        return self.function.__doc__.strip().split("\n")[0]


def registry(*methods):
    """Return {name: method}, in this order."""
    return {method.name: method for method in methods}


def chosen(methods, name, where):
    """Return the method called `name`; `where` says in an error what named it."""
    if not isinstance(name, str) or name not in methods:
        raise InputError(f"{where} is {name!r}; it can be {', '.join(methods)}")
    return methods[name]

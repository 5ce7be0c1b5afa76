"""Registries: the rankings, tunings and detectors there are, each a table of methods by name.

Packages of others add methods by entry points. They are looked for only where a name is not one of ours, and
imported only where their name is asked for.
"""

import hashlib
import importlib.metadata
import importlib.util
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

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
    function: Callable[..., Any]
    settings: type[Settings] = Settings

    @property
    def meaning(self) -> str:
        """The first line of the function's docstring."""
        return (self.function.__doc__ or self.name).strip().split("\n")[0]


M = TypeVar("M", bound=Method)


class Registry(dict[str, M], Generic[M]):
    """{name: method}, in this order; those of other packages are found by their names, but not listed.

    Parameters
    ----------
    group : str
        The group of entry points by which other packages add methods. Each leads to a method of this kind.
    kind : class
        Method, or what the registry makes of it.
    arguments : int
        How many a method's function takes.
    methods : Method
    """

    def __init__(self, group: str, kind: type[M], arguments: int, *methods: M) -> None:
        super().__init__((method.name, method) for method in methods)
        self.group, self.kind, self.arguments = group, kind, arguments
        self.loaded: dict[str, M] = {}

    def __missing__(self, name: str) -> M:
        if name not in self.loaded:
            if not isinstance(name, str) or name not in self.outside():
                raise KeyError(name)
            self.loaded[name] = self._load(self._entry(name))
        return self.loaded[name]

    def outside(self) -> list[str]:
        """Return the names of what other packages add, none of them imported."""
        return sorted(set(importlib.metadata.entry_points(group=self.group).names) - set(self))

    def _entry(self, name: str) -> importlib.metadata.EntryPoint:
        found = {entry.value: entry for entry in importlib.metadata.entry_points(group=self.group, name=name)}
        if len(found) > 1:
            packages = " and ".join(sorted(_package(entry) for entry in found.values()))
            raise InputError(
                f"{name!r} of {self.group} is in more than one package: {packages}; uninstall one"
            )
        (entry,) = found.values()
        return entry

    def names(self) -> list[str]:
        """Return the names of all methods, those of other packages last."""
        return [*self, *self.outside()]

    def origin(self, name: str) -> dict[str, str] | None:
        """Return where a method of another package is from, None for one of ours.

        With the version and a hash of the package's code, so that a stage that reads it runs again once
        either has changed.
        """
        if name in self:
            return None
        entry = self._entry(name)
        version = entry.dist.version if entry.dist else ""
        return {"package": _package(entry), "version": version, "code": _digest(entry.module)}

    def _load(self, entry: importlib.metadata.EntryPoint) -> M:
        where = f"{entry.name!r} of the package {_package(entry)} ({entry.value})"
        try:
            method = entry.load()
        except Exception as error:  # a stranger's module: anything may be wrong in it
            said = (str(error) or type(error).__name__).splitlines()[0]
            raise InputError(f"{where} cannot be imported: {said}") from error
        if not isinstance(method, self.kind):
            raise InputError(f"{where} is a {type(method).__name__}, not a goodnet {self.kind.__name__}")
        if method.name != entry.name:
            raise InputError(f"{where} calls itself {method.name!r}; the two names must be one")
        if not (isinstance(method.settings, type) and issubclass(method.settings, Settings)):
            raise InputError(f"{where} has settings that are no class of goodnet.settings.Settings")
        try:
            inspect.signature(method.function).bind(*[None] * self.arguments)
        except (TypeError, ValueError):
            raise InputError(
                f"{where} has a function that does not take {self.arguments} arguments"
            ) from None
        return method


def _package(entry: importlib.metadata.EntryPoint) -> str:
    return entry.dist.name if entry.dist else entry.module


def _digest(module: str) -> str:
    """Return a hash of the source of the package that a module is of, or of the module alone."""
    spec = importlib.util.find_spec(module.split(".")[0])
    if spec is not None and spec.submodule_search_locations:
        roots = [Path(place) for place in spec.submodule_search_locations]
        files = [(path.relative_to(root), path) for root in roots for path in root.rglob("*.py")]
    else:
        files = [(Path(module), Path(spec.origin))] if spec and spec.origin else []
    digest = hashlib.sha256()
    for name, path in sorted(files):
        digest.update(f"{name.as_posix()}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def chosen(methods: Registry[M], name: object, where: str) -> M:
    """Return the method called `name`; `where` says in an error what named it."""
    if not isinstance(name, str) or (name not in methods and name not in methods.outside()):
        raise InputError(f"{where} is {name!r}; it can be {', '.join(methods.names())}")
    return methods[name]

"""The pipeline as dvc.yaml has it: its steps, each a stage with its flags, and which depend on which."""

import re
import shlex
from dataclasses import dataclass

from goodnet.errors import InputError


@dataclass(frozen=True)
class Step:
    """A stage with its flags, for one repair or for all.

    Parameters
    ----------
    stage : str
    repair : str or None
    words : tuple of str
        Its flags and their values.
    needs, makes : frozenset of str
        Paths, as dvc.yaml names them.
    """

    stage: str
    repair: str | None
    words: tuple
    needs: frozenset
    makes: frozenset

    @property
    def name(self):
        return f"{self.stage}@{self.repair}" if self.repair else self.stage


def steps(content, params):
    """Return all Steps, each after those it depends on.

    Parameters
    ----------
    content : dict
        What dvc.yaml holds.
    params : dict
        What params.yaml holds: values that dvc.yaml names, and the repairs.
    """
    pending = []
    for stage, body in content["stages"].items():
        for repair in params["repairs"] if "do" in body else [None]:
            values = params | {"key": repair}
            pending.append(_step(stage, repair, body.get("do", body), values))
    made, ordered = set().union(*(step.makes for step in pending)), []
    while pending:
        awaited = made - set().union(*(step.makes for step in ordered))
        ready = next((step for step in pending if not overlap(step.needs, awaited)), None)
        if ready is None:
            raise InputError(f"dvc.yaml: {pending[0].name} waits for itself")
        ordered.append(ready)
        pending.remove(ready)
    return ordered


def needed_for(stage, ordered):
    """Return the Steps of a stage and all that it depends on, in their order."""
    needs, found = set(), []
    for step in reversed(ordered):
        if step.stage == stage or overlap(needs, step.makes):
            needs |= step.needs
            found.append(step)
    return found[::-1]


def _step(stage, repair, body, values):
    def resolved(text):
        return re.sub(r"\$\{([\w.]+)\}", lambda found: str(_at(values, found[1].split("."))), text)

    paths = {
        kind: frozenset(
            resolved(next(iter(one)) if isinstance(one, dict) else one)
            for key in keys
            for one in body.get(key) or []
        )
        for kind, keys in {"needs": ["deps"], "makes": ["outs", "metrics"]}.items()
    }
    # `python stages/<stage>.py`, then flags.
    return Step(stage, repair, tuple(map(resolved, shlex.split(body["cmd"])[2:])), **paths)


def _at(values, keys):
    for key in keys:
        values = values[key]
    return values


def overlap(needs, makes):
    """Return whether any path needed is one of those made, lies in one, or holds one."""
    return any(
        need == made or need.startswith(f"{made}/") or made.startswith(f"{need}/")
        for need in needs
        for made in makes
    )

"""The project a command works in: the folder with dvc.yaml and params.yaml, here or above."""

import sys
from pathlib import Path

from goodnet.errors import InputError
from goodnet.images import inputs
from goodnet.params import Params
from goodnet.process import commands
from goodnet.project import made_by

FILES = ("dvc.yaml", "params.yaml")


def find(given=None):
    """Return the project's folder, `given` or the nearest from here upwards; None where there is none.

    A project that another version of goodnet made gets a line that says what to do.
    """
    if given is not None and not _is_project(given):
        raise InputError(f"{given}: is no project: it has no {' or no '.join(FILES)}")
    here = Path.cwd()
    found = given or next((folder for folder in (here, *here.parents) if _is_project(folder)), None)
    line = found and made_by.another(found)
    if line:
        commands.say(line, sys.stderr)
    return found


def needed(given=None):
    """Return the project's folder; raise InputError where there is none."""
    folder = find(given)
    if folder is None:
        raise InputError(
            "no project here or above: goodnet init FOLDER makes one, --project FOLDER names one"
        )
    return folder


def params(folder):
    """Return a project's Params."""
    path = folder / "params.yaml"
    here = Path.cwd()
    return Params(path.relative_to(here) if path.is_relative_to(here) else path)


def net_input(folder, net):
    """Return the Input that params.yaml gives for a net file of the project, None for any other."""
    if folder is None or not net.resolve().is_relative_to((folder / "models").resolve()):
        return None
    kind = net.resolve().relative_to((folder / "models").resolve()).parts[0]
    settings = params(folder)
    name = settings.value("badnet") if kind in ("repaired", "goodnet") else kind
    nets = settings.value("nets")
    return inputs.of_net(settings, name) if isinstance(nets, dict) and name in nets else None


def _is_project(folder):
    return all((folder / name).is_file() for name in FILES)

"""A grid of settings: which values each parameter is to have, as `dvc exp run -S` takes them."""

import re
import shutil
import tempfile
from pathlib import Path

import yaml

from goodnet.errors import InputError
from goodnet.params import Params

EXAMPLE = "set: ['prune.order=l1,apoz', 'repairs.x10.drop=8,12']"
PLAIN = re.compile(r"[A-Za-z_][\w./-]*")
MOST = 100_000


def read(path):
    """Return the name of a grid, and its settings: each a list of changes.

    Parameters
    ----------
    path : Path
        YAML: `set` is a list of what follows -S of `dvc exp run`, or {parameter: value or list of values}.
        `name` is what the experiments' names begin with, by default the file's own.
    """
    content = Params(path).content
    if not content.get("set") or set(content) - {"set", "name"}:
        raise InputError(f"{path}: has to hold `set`, and may hold `name`: {EXAMPLE}")
    name = content.get("name", path.stem)
    if not isinstance(name, str) or not re.fullmatch(r"[\w-]+", name):
        raise InputError(f"{path}: name is {name!r}; it may hold letters, digits, - and _")
    lines = content["set"]
    if isinstance(lines, dict):
        lines = [f"{key}={_values(value)}" for key, value in lines.items()]
    if not isinstance(lines, list) or not all(isinstance(line, str) and "=" in line for line in lines):
        raise InputError(f"{path}: set has to be like {EXAMPLE}")
    return name, _expanded(path, [line.removeprefix("params.yaml:") for line in lines])


def _expanded(path, lines):
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import get_hydra_sweeps
    from hydra.errors import HydraException

    try:
        settings = [one["params.yaml"] for one in get_hydra_sweeps({"params.yaml": lines})]
    except (HydraException, DvcException) as error:
        raise InputError(f"{path}: set: {str(error).splitlines()[0]}") from None
    if len(settings) > MOST:
        raise InputError(f"{path}: makes {len(settings)} settings; {MOST} at most")
    return settings


def _values(value):
    return ",".join(map(_value, value)) if isinstance(value, list) else _value(value)


def _value(value):
    """Return a value in the words of -S."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(_value, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_value(one)}" for key, one in value.items()) + "}"
    text = str(value)
    if isinstance(value, str) and (not PLAIN.fullmatch(text) or text in ("null", "true", "false")):
        return "'" + text.replace("'", "\\'") + "'"
    return text


def params_of(params, changes):
    """Return what params.yaml holds, as text, once these changes are made."""
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import apply_overrides
    from omegaconf.errors import OmegaConfBaseException

    with tempfile.TemporaryDirectory() as folder:
        path = Path(shutil.copy(params, Path(folder) / "params.yaml"))
        try:
            apply_overrides(path, changes)
        except (DvcException, OmegaConfBaseException, yaml.YAMLError) as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            raise InputError(f"{' '.join(changes)}: {reason}") from None
        return path.read_text(encoding="utf-8")

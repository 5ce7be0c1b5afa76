"""What every stage does as a command: its flags, its parameters, and errors in one line."""

import argparse
import contextlib
import math
import os
import signal
import sys
from pathlib import Path

import yaml


class InputError(ValueError):
    """What a user gave is wrong; the message says which file, what is wrong, what would be right."""


def read_arguments(description, **paths):
    """Read one required flag for each of `paths` (name="what it is"), and --params."""
    parser = argparse.ArgumentParser(description=description)
    for name, what in paths.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, required=True, help=what)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="the parameters")
    return parser.parse_args()


def read_params(path, *keys):
    """Read params.yaml and return what stands under `keys`, one level a key."""
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise InputError(f"{path}{line}: is not valid YAML: {error.problem}") from None
    for depth, key in enumerate(keys):
        if not isinstance(value, dict) or key not in value:
            raise InputError(f"{path}: has no {'.'.join(keys[: depth + 1])}")
        value = value[key]
    return value


def read_number(path, *keys, highest):
    """Return the number under `keys`, which must be above 0 and at most `highest`."""
    value = read_params(path, *keys)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= highest:
        raise InputError(f"{path}: {'.'.join(keys)} is {value!r}, not a number above 0 and up to {highest}")
    return value


# What a setting can be: in words, and as a check.
SEED = "a whole number from 0", lambda value: type(value) is int and value >= 0
COUNT = "a whole number from 1", lambda value: type(value) is int and value >= 1
POSITIVE = "a number above 0", lambda value: type(value) in (int, float) and 0 < value < math.inf
SHARE = "a number from 0 to 1", lambda value: type(value) in (int, float) and 0 <= value <= 1
PERCENT = "a number from 0 to 100", lambda value: type(value) in (int, float) and 0 <= value <= 100
DROP = "a number above 0 and up to 100", lambda value: type(value) in (int, float) and 0 < value <= 100


def read_settings(path, *keys, **kinds):
    """Return the block under `keys`, which must hold exactly the settings in `kinds`, each of its kind."""
    block, name = read_params(path, *keys) or {}, ".".join(keys)
    if not isinstance(block, dict) or set(block) - set(kinds):
        raise InputError(f"{path}: {name} is {block!r}; it can hold {', '.join(kinds) or 'nothing'}")
    for key, (words, is_right) in kinds.items():
        if key not in block:
            raise InputError(f"{path}: {name} has no {key}, {words}")
        if not is_right(block[key]):
            raise InputError(f"{path}: {name}.{key} is {block[key]!r}, not {words}")
    return block


def read_input_max(path):
    """Return the largest value the inputs of the chosen net take: 255, or 1 for a net of divided pixels."""
    return read_number(path, "nets", read_params(path, "badnet"), "input_max", highest=255)


def run(main):
    """Call a stage's main and end the process."""
    main()
    sys.stdout.flush()
    _end(0)


def _end(code):
    # Nothing is left to do. Taking TensorFlow down would only cost another second, and HDF5, closing once
    # more the files for which the disk had no room, would crash.
    with contextlib.suppress(OSError):  # nobody reads what is printed
        sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def print_error(error):
    """Print an InputError or OSError in one line."""
    if isinstance(error, OSError):  # a file is missing, a disk is full
        error = f"{error.filename}: {error.strerror}" if error.filename else str(error).split("\n")[0]
    print(f"error: {error}", file=sys.stderr)


def _end_with_one_line(kind, error, traceback):
    if issubclass(kind, (InputError, OSError)):
        print_error(error)
        _end(1)
    elif issubclass(kind, KeyboardInterrupt):
        print("interrupted: nothing half-written was left; run the same again", file=sys.stderr)
        sys.stderr.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # end by it, and at once
        signal.raise_signal(signal.SIGINT)
    else:
        sys.__excepthook__(kind, error, traceback)


# From here on, so that Ctrl-C is one line even while TensorFlow is being imported.
sys.excepthook = _end_with_one_line

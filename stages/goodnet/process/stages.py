"""A stage of the pipeline as a command: its flags, its parameters, a guard on what it started from.

DVC records a stage's dependencies as they stand when its command has ended. What is edited in between would
be recorded as used. So a stage notes what it starts from and, where that has changed when it ends, fails and
leaves nothing; DVC runs it again next time.
"""

import argparse
import hashlib
import os
import shutil
import sys
import time
from pathlib import Path

import psutil

from goodnet.errors import InputError
from goodnet.params import Params


class Stage:
    """A function of its arguments, with flags for every path; called with a list of words, it runs.

    What else it is called with goes to the function.

    Parameters
    ----------
    body : callable
        Takes the arguments: a path for each flag, and `params`.
    description : str
    inputs, outputs : dict
        {flag: what it is}. Where an input has changed meanwhile, the outputs are removed again.
    values : dict
        {flag: what it is}, of words that are no paths.
    cleared : dict
        {flag: what it is}, of folders in which the stage removes files, and of outputs that stay.
    """

    def __init__(self, body, description, inputs, outputs, values, cleared):
        self.body, self.inputs, self.outputs, self.cleared = body, inputs, outputs, cleared
        self.parser = argparse.ArgumentParser(description=description)
        for name, what in {**values, **inputs, **outputs, **cleared}.items():
            flag, kind = f"--{name.replace('_', '-')}", str if name in values else Path
            self.parser.add_argument(flag, type=kind, required=True, help=what)
        self.parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="the parameters")

    def __call__(self, words=None, **more):
        args = self.parser.parse_args(words)
        args.params = Params(args.params)
        paths = [getattr(args, name) for name in self.inputs]
        sources, marks = _sources(self.body), [_mark(path) for path in paths]
        digests = [_digest(path) for path in sources]
        edited = [path for path in sources if _began() < _written(path) <= time.time()]
        self.body(args, **more)
        edited += [path for path, digest in zip(sources, digests, strict=True) if _digest(path) != digest]
        edited += [path for path, mark in zip(paths, marks, strict=True) if _mark(path) != mark]
        edited = [_shown(path) for path in edited]
        edited += [f"{args.params.path}: {name}" for name in args.params.changed()]
        if edited:
            for name in self.outputs:
                _remove(getattr(args, name))
            raise InputError(
                f"{edited[0]}: was changed while this stage ran; no output was kept; "
                "run the same command again"
            )


def stage(description, *, inputs=None, outputs=None, values=None, cleared=None):
    """Make a Stage of a function."""
    return lambda body: Stage(body, description, inputs or {}, outputs or {}, values or {}, cleared or {})


def _sources(body):
    """Return the files of the script and of all modules of ours that are loaded."""
    ours = [module for name, module in list(sys.modules.items()) if name.split(".")[0] == "goodnet"]
    files = {getattr(module, "__file__", None) for module in (*ours, sys.modules["__main__"])}
    files.add(body.__code__.co_filename)
    return sorted(Path(file).resolve() for file in files if file)


def _began():
    """When this process began, before it read any of our files."""
    if sys.platform != "linux":
        return psutil.Process().create_time()
    # There psutil knows it to a second, the kernel to a hundredth: it began before the next tick.
    ticks = 1 + int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")


def _written(path):
    """When a file was last written, or a file of another date put in its place."""
    return path.stat().st_ctime if path.is_file() else 0.0


def _digest(path):
    return hashlib.sha256(path.read_bytes()).digest() if path.is_file() else None


def _mark(path):
    """Return what changes when a file is written, or any file of a folder but those not yet whole."""
    files = [path] if path.is_file() else sorted(path.rglob("[!.]*")) if path.is_dir() else []
    return [(file, *_numbers(file.stat())) for file in files if file.is_file()]


def _numbers(status):
    return status.st_ino, status.st_size, status.st_mtime_ns


def _shown(path):
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

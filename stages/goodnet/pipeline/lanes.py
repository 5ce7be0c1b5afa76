"""Repairs do not need each other: two of them are made at once, the second in a process of its own.

The bytes are those of one after another, since every step begins as in a process of its own. What the second
process does not come to do, for whatever reason, is left to the first.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil

from goodnet.errors import InputError
from goodnet.pipeline import graph, walk
from goodnet.process import commands, sources

MEMORY = 4 << 30  # bytes that are free before a second process is begun
BEGUN, DONE = "\0begun ", "\0done "  # before a step's name, in what the second process prints
_CGROUP = Path("/sys/fs/cgroup")


def split(steps, seconds):
    """Split Steps into those before any repair, two lanes of repairs, and those after them.

    Parameters
    ----------
    steps : list of graph.Step
    seconds : callable
        Of a Step; both lanes are to take about as long, and the first is the longer one.

    Returns
    -------
    before, first, second, after : lists of graph.Step
    """
    of_repairs, before, after, made = {}, [], [], set()
    for step in steps:
        if step.repair:
            of_repairs.setdefault(step.repair, []).append(step)
        elif graph.overlap(step.needs, made):
            after.append(step)
        else:
            before.append(step)
            continue
        made |= step.makes

    def length(own):
        return sum(map(seconds, own))

    lanes = [], []
    for own in sorted(of_repairs.values(), key=length, reverse=True):
        min(lanes, key=length).extend(own)
    return before, *sorted(lanes, key=length, reverse=True), after


def is_room():
    """Return whether this machine has a core and memory for a second process."""
    return _cores() > 1 and _memory() >= MEMORY


def _cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory():
    """Return the bytes that are free, in a container those that it may still take."""
    free = psutil.virtual_memory().available
    with contextlib.suppress(OSError, ValueError):  # no container, or "max"
        most, taken = ((_CGROUP / f"memory.{name}").read_text() for name in ("max", "current"))
        free = min(free, int(most) - int(taken))
    return free


@contextlib.contextmanager
def beside(folder, steps, hear):
    """Have a second process take Steps meanwhile; yield a function that waits until it has ended.

    Parameters
    ----------
    folder : Path
    steps : list of graph.Step
    hear : callable
        Called from another thread with BEGUN or DONE and a step's name, or with None and a line it says.
    """
    job = {"folder": str(folder), "steps": [(step.stage, step.repair, step.words) for step in steps]}
    path = os.environ.get("PYTHONPATH")
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # Ctrl-C is for the first, which ends this one
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (str(sources.STAGES), path)))},
    )
    reader = threading.Thread(target=_listen, args=(process.stdout, hear), daemon=True)
    reader.start()  # before anything that may be interrupted: one that never started cannot be joined
    try:
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(job), file=process.stdin, flush=True)
        yield reader.join
    finally:
        process.kill()
        process.wait()
        reader.join()


def _listen(lines, hear):
    for line in lines:
        text = line.rstrip("\n")
        kind = next((mark for mark in (BEGUN, DONE) if text.startswith(mark)), None)
        hear(kind, text.removeprefix(kind or ""))


def main():
    """Take the steps that standard input names; end as soon as nobody listens any more."""
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    not_made = set()
    for stage, repair, words in job["steps"]:
        step = graph.Step(stage, repair, tuple(words), frozenset(), frozenset())
        if repair in not_made:
            continue
        print(f"{BEGUN}{step.name}", flush=True)
        try:
            walk.take(step, Path(job["folder"]))
        except InputError:  # the first process comes to it again, and says why
            not_made.add(repair)
        else:
            print(f"{DONE}{step.name}", flush=True)


def _end_with_parent():
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    commands.run(main)

"""A command in a process of its own, which ends when its task, its worker or the fleet does."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

from goodnet.fleet import registrar

LOOK = 0.5  # seconds
AFTER_STOP = 10  # seconds that a child has to end by itself
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


class Stopped(Exception):
    """The fleet was stopped while the task ran."""


class Asking:
    """What a task can ask the scheduler for its fleet, from the thread in which it runs."""

    def __init__(self, fleet):
        from distributed import get_worker

        self.fleet, self.worker = fleet, get_worker()

    def __call__(self, word, **values):
        from distributed.utils import sync

        handler = getattr(self.worker.scheduler, f"{registrar.NAME}_{word}")
        return sync(self.worker.loop, handler, fleet=self.fleet, **values)

    def is_stopped(self):
        """Return whether nobody waits for the task any more; so it is, too, without a scheduler."""
        try:
            return self("is_stopped")
        except Exception:
            return True

    def scratch(self):
        """Return the worker's folder for what may be lost."""
        path = Path(self.worker.local_directory) / "goodnet"
        path.mkdir(parents=True, exist_ok=True)
        return path


def run(asking, words, folder, log, **more):
    """Run Python with words in a folder; return its exit code.

    Parameters
    ----------
    asking : Asking
    words : list of str
        What follows `python`.
    folder, log : Path
        Where it runs, and the file that gets what it prints.
    more
        Of subprocess.Popen.

    Raises
    ------
    Stopped
        The fleet was stopped; the child was, too.
    """
    with started(words, folder, log, **more) as child:
        while (code := _wait(child)) is None:
            if asking.is_stopped():
                raise Stopped
        return code


@contextlib.contextmanager
def started(words, folder, log, **more):
    """Yield a child; whatever is left of it and its children in the end is killed."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with log.open("ab") as output:
        child = subprocess.Popen(
            [sys.executable, *map(str, words)],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=_end_with_parent,
            **more,
        )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
            _wait(child, AFTER_STOP)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _end_with_parent():
    """A group of its own, and SIGTERM where the worker is killed: Linux alone has that.

    It can be interrupted, though the worker cannot, as those that a script starts in the background.
    """
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGTERM)


def _wait(child, seconds=LOOK):
    with contextlib.suppress(subprocess.TimeoutExpired):
        return child.wait(seconds)
    return None

"""How far a long piece of work is: a bar on a terminal, or whatever a caller of the API makes of it."""

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar

from tqdm import tqdm

from goodnet.files.names import printable

Progress = Callable[[str, int, int], object]  # what is done, how much of it, of how much

_told: ContextVar[Progress | None] = ContextVar("told", default=None)  # None: a command, with bars


class Bar:
    """Tells a caller how far a step is."""

    def __init__(self, progress: Progress, step: str, total: int, done: int) -> None:
        self.progress, self.step, self.total, self.n = progress, step, total, done
        self.update(0)

    def update(self, more: int = 1) -> None:
        self.n += more
        self.progress(self.step, int(self.n), int(self.total))

    def set_description(self, step: str) -> None:
        self.step = step


@contextlib.contextmanager
def bar(step: str, total: int, unit: str, done: int = 0) -> Iterator["Bar | tqdm"]:
    """Yield what is told of each piece that is done, by `update`; on a terminal it is a bar."""
    progress = _told.get()
    if progress is not None:
        yield Bar(progress, step, total, done)
        return
    with tqdm(total=total, initial=done, desc=step, unit=f" {unit}", leave=False, disable=None) as shown:
        yield shown


@contextlib.contextmanager
def to(progress: Progress | None) -> Iterator[None]:
    """Tell a callable how far all work within is; nobody if there is none."""
    token = _told.set(progress or _nobody)
    try:
        yield
    finally:
        _told.reset(token)


@contextlib.contextmanager
def within(name: str) -> Iterator[None]:
    """Have a caller told the name of what the steps within belong to."""
    outer = _told.get()
    if outer is None:
        yield
        return
    with to(lambda step, done, total: outer(f"{name}: {step}", done, total)):
        yield


def _nobody(step: str, done: int, total: int) -> None:
    pass


def say(text: str) -> None:
    """Print a line to standard error, above whatever bars there are."""
    tqdm.write(printable(text), file=sys.stderr)


def remark(text: str) -> None:
    """Say something that is worth knowing: a command on standard error, the API as a warning."""
    if _told.get() is None:
        say(text)
    else:
        warnings.warn(text, RuntimeWarning, stacklevel=2)

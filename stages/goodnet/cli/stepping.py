"""How far a run of all steps is: noted in a file, so that it can go on, and told on a terminal."""

import contextlib
import shutil
import sys
import threading
import time

from goodnet import telling
from goodnet.files import outputs

STATE = "state.json"
# What each step took on the demo. Only the proportions count, in the time that is left.
SECONDS = {"examine": 5, "suspect": 78, "attack": 18, "recommend": 4, "report": 3}
SECONDS_OF_TUNING = {"relearn": 22, "unlearn": 93}
BOTH = 0.75  # what two steps take at once, of what they take one after another: one alone leaves cores idle


class Work:
    """A folder laid out as a project, in which the steps are taken; its state says which are done.

    Parameters
    ----------
    folder : Path
    key : str
        Of all that the results depend on. With another one the work starts anew.
    """

    def __init__(self, folder, key):
        self.folder, self.path, self.lock = folder, folder / STATE, threading.RLock()
        self.state = outputs.read_json(self.path) if self.path.exists() else {}
        if self.state.get("key") != key:
            for left in folder.glob("[!.]*"):  # the lock stays
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            self.state = {"key": key, "done": [], "not_made": {}}

    def save(self):
        outputs.write_json(self.path, self.state)

    def is_done(self, name):
        return name in self.state["done"]

    def note(self, name):
        with self.lock:  # two lanes come here
            self.state["done"].append(name)
            self.save()

    def leave_out(self, repair, reason):
        with self.lock:
            self.state["not_made"][repair] = reason
            self.save()

    def is_settled(self, step):
        """Return whether a Step is done, or belongs to a repair that cannot be made."""
        return self.is_done(step.name) or step.repair in self.state["not_made"]


def expected(steps, lines):
    """Return {name: seconds} of Steps, with these lines of repairs."""
    return {step.name: _seconds(step, lines) for step in steps}


def _seconds(step, lines):
    if step.stage == "repair":
        return SECONDS_OF_TUNING.get(lines[step.repair].get("tune"), 2)
    return SECONDS.get(step.stage, 1)


class Progress:
    """On a terminal, which step it is and about how long the rest takes; nothing in a log.

    Parameters
    ----------
    seconds : dict
        From `expected`.
    lanes : pair of lists of graph.Step
        Those that are taken at once.
    """

    def __init__(self, seconds, lanes):
        self.seconds, self.pending, self.running = seconds, list(seconds), {}
        self.lanes = [{step.name for step in lane} for lane in lanes]
        self.are_two = all(self.lanes)
        self.shown, self.lock = sys.stderr.isatty(), threading.RLock()
        self.began = None  # when, and how long it was expected to take then

    def begin(self, name):
        with self.lock:
            now = time.monotonic()
            self.began = self.began or (now, self._expected(now))
            self.running[name] = now
            if self.shown:
                number = len(self.seconds) - len(self.pending) + len(self.running)
                telling.say(f"step {number} of {len(self.seconds)}, {name}; {self._left(now)}")

    def end(self, name):
        with self.lock:
            self.running.pop(name, None)
            self.skip(name)

    def skip(self, name):
        with self.lock, contextlib.suppress(ValueError):  # the other lane has done it
            self.pending.remove(name)

    @contextlib.contextmanager
    def during(self, name):
        self.begin(name)
        try:
            yield
        finally:
            self.end(name)

    def _left(self, now):
        began, at_first = self.began
        expected = self._expected(now)
        pace = (now - began) / (at_first - expected) if at_first > expected else 1
        seconds = round(pace * expected)
        return f"about {seconds // 60} min {seconds % 60} s left"

    def _expected(self, now):
        """Return the seconds that the rest would take on the demo."""
        rest = {name: max(0, self.seconds[name] - now + self.running.get(name, now)) for name in self.pending}
        lengths = [sum(rest.pop(name, 0) for name in lane) for lane in self.lanes]
        return sum(rest.values()) + max(*lengths, BOTH * sum(lengths))

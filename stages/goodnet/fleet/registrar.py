"""What Dask's scheduler keeps for a fleet: which stage is run by whom, and what came of those that ended.

A stage is known by its key, a hash of its command, parameters and inputs, as DVC's run-cache has it. Whoever
asks for one first runs it; the others wait, and take what came of it. What a worker ran is free again as
soon as the scheduler misses the worker.
"""

from dataclasses import dataclass, field

from distributed.diagnostics.plugin import SchedulerPlugin

NAME = "goodnet"
RUN, WAIT, TAKE, FAIL, STOP = "run", "wait", "take", "fail", "stop"


@dataclass
class Fleet:
    """One call of `goodnet fleet` or `goodnet audit`.

    Parameters
    ----------
    client : str
        Who began it; without them it stops.
    running : dict
        {key: (the worker's address, the task)}.
    ended : dict
        {key: (TAKE or FAIL, what came of it)}.
    counts : dict
        {word: how many stages}.
    """

    client: str
    running: dict = field(default_factory=dict)
    ended: dict = field(default_factory=dict)
    counts: dict = field(default_factory=dict)
    is_stopped: bool = False


class Registrar(SchedulerPlugin):
    """A plugin of the scheduler that keeps Fleets; its handlers are called over the network."""

    name = NAME
    idempotent = True  # what it keeps for other fleets stays

    def __init__(self):
        self.fleets = {}

    async def start(self, scheduler):
        for word in ("begin", "claim", "end", "note", "is_stopped", "progress", "stop", "forget"):
            scheduler.handlers[f"{NAME}_{word}"] = getattr(self, word)

    def begin(self, fleet, client):
        self.fleets[fleet] = Fleet(client)

    def claim(self, fleet, key, worker, task):
        """Return what a task of a worker is to do about a stage, and what came of it where it has ended."""
        its = self.fleets.get(fleet)
        if its is None or its.is_stopped:
            return STOP, None
        if key in its.ended:
            return its.ended[key]
        if its.running.setdefault(key, (worker, task)) != (worker, task):
            return WAIT, None
        return RUN, None

    def end(self, fleet, key, outcome, result):
        """A stage has ended: others are to TAKE it or to FAIL; None frees it."""
        its = self.fleets.get(fleet)
        if its is not None:
            its.running.pop(key, None)
            if outcome is not None:
                its.ended[key] = outcome, result

    def note(self, fleet, how):
        """Count a stage by how it came."""
        its = self.fleets.get(fleet)
        if its is not None:
            its.counts[how] = its.counts.get(how, 0) + 1

    def is_stopped(self, fleet):
        return fleet not in self.fleets or self.fleets[fleet].is_stopped

    def progress(self, fleet):
        return self.fleets[fleet].counts if fleet in self.fleets else {}

    def stop(self, fleet):
        if fleet in self.fleets:
            self.fleets[fleet].is_stopped = True

    def forget(self, fleet):
        self.fleets.pop(fleet, None)

    def remove_worker(self, scheduler, worker, **more):
        for its in self.fleets.values():
            its.running = {key: by for key, by in its.running.items() if by[0] != worker}

    def remove_client(self, scheduler, client):
        for its in self.fleets.values():
            its.is_stopped |= its.client == client

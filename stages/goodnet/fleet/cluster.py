"""The Dask cluster that a fleet works on, and how its tasks are sent out and come back."""

import contextlib
import logging
import os
import re
import signal
import sys
import time
import uuid
import warnings
from dataclasses import dataclass

import psutil

from goodnet.cli import __version__
from goodnet.errors import InputError
from goodnet.process import commands

CORES, GIGABYTES = "goodnet_cores", "goodnet_gigabytes"  # what a worker declares, and a task needs
IN_FLIGHT = 2  # tasks sent out for each worker, so that none waits and no more is in memory
LOOK = 0.5  # seconds
SLOW = 20  # looks without a worker after which that is said


def require():
    """Refuse to go on without Dask."""
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise InputError(
            "this needs Dask: pip install 'goodnet[fleet]'; in a clone of the repository, make fleet"
        ) from None


@dataclass(frozen=True)
class Job:
    """A task that is to be done once, somewhere.

    Parameters
    ----------
    name : str
        What the user calls it.
    function : callable
        Of a module of ours; called on the worker with the Fleet's id first, then `args`.
    args : tuple
        What can be pickled. A `Shared` stands for what all tasks are given.
    """

    name: str
    function: object
    args: tuple


@dataclass(frozen=True)
class Shared:
    """Data that was sent to the cluster once."""

    future: object


@dataclass(frozen=True)
class Ended:
    """What came of a Job: a result, or an error in one line."""

    job: Job
    result: object = None
    error: str | None = None


class Cluster:
    """A connected cluster, for one fleet.

    Parameters
    ----------
    client : distributed.Client
    cores, gigabytes : float
        What each task needs.
    """

    def __init__(self, client, cores, gigabytes):
        self.client, self.fleet = client, uuid.uuid4().hex
        self.address = client.scheduler.address
        self.needs = {CORES: cores, GIGABYTES: gigabytes}
        self.ask("begin", client=client.id)

    def ask(self, word, **values):
        """Call a handler of the Registrar."""
        with self.reaching():
            handler = getattr(self.client.scheduler, f"goodnet_{word}")
            return self.client.sync(handler, fleet=self.fleet, **values)

    @contextlib.contextmanager
    def reaching(self):
        """Say in one line that the scheduler is gone, whatever the client makes of that."""
        from concurrent.futures import CancelledError

        try:
            yield
        except (OSError, CancelledError, RuntimeError) as error:
            if isinstance(error, TimeoutError) and self.client.status == "running":
                raise
            raise self._gone() from None

    def _gone(self):
        return InputError(
            f"{self.address}: the scheduler is gone; start it, and run the same command again: what has "
            "ended is kept"
        )

    def share(self, data):
        """Send data to the cluster once. The scheduler keeps it, so that no worker's death takes it away."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that it is large
            key = f"goodnet-shared-{uuid.uuid4().hex}"
            return Shared(self.client.submit(_kept, data, key=key, pure=False))

    def workers(self):
        with self.reaching():
            return self.client.scheduler_info(n_workers=-1)["workers"]

    def run(self, jobs, look=lambda running: None):
        """Send out Jobs and yield each as Ended, in the order in which they end.

        Parameters
        ----------
        jobs : iterable of Job
            Taken as they are needed, so that a long list is not in memory.
        look : callable
            Called every half second with how many are out.
        """
        from distributed import wait

        jobs, out, missed = iter(jobs), {}, 0
        try:
            while True:
                most = max(1, IN_FLIGHT * len(self.workers()))
                while len(out) < most and (job := next(jobs, None)) is not None:
                    out[self._submit(job)] = job
                if not out:
                    return
                with contextlib.suppress(TimeoutError), self.reaching():
                    wait(list(out), timeout=LOOK, return_when="FIRST_COMPLETED")
                self._check()
                for future in [one for one in out if one.done()]:
                    yield self._ended(future, out.pop(future))
                missed = 0 if self.workers() else missed + 1
                if missed == SLOW:
                    commands.say(f"no worker at {self.address} yet: waiting", sys.stderr)
                look(len(out))
        finally:
            self.stop(out)

    def _submit(self, job):
        args = [one.future if isinstance(one, Shared) else one for one in job.args]
        key = f"goodnet-{job.name}-{uuid.uuid4().hex}"
        most = {word: [] for word in self.needs}
        for worker in self.workers().values():
            for word, values in most.items():
                values.append(worker["resources"].get(word, 0))
        # Rather on a worker that is small than nowhere.
        needs = {word: min(need, max(most[word], default=need) or need) for word, need in self.needs.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that it is large
            return self.client.submit(job.function, self.fleet, *args, key=key, pure=False, resources=needs)

    def _check(self):
        if self.client.status not in ("running", "newly-created"):
            raise self._gone()

    def _ended(self, future, job):
        if future.status == "finished":
            with self.reaching():
                return Ended(job, future.result())
        self._check()
        if future.status in ("cancelled", "lost"):
            time.sleep(2 * LOOK)  # a scheduler that goes cancels first
            self._check()
            raise self._gone()
        error = future.exception()
        if type(error).__name__ == "KilledWorker":
            return Ended(job, error="the worker died of it, three times and more; is there enough memory?")
        return Ended(job, error=re.sub(r"\s+", " ", str(error)) or type(error).__name__)

    def stop(self, out=()):
        """Have what still runs for this fleet end."""
        with contextlib.suppress(Exception):  # whatever is gone needs no stopping
            self.ask("stop")
            self.client.cancel(list(out), force=True)


def _kept(data):
    return data


@contextlib.contextmanager
def connected(address, workers, cores, gigabytes, dashboard=True):
    """Yield a Cluster: the one at an address, or one of this machine for as long as it is needed.

    Parameters
    ----------
    address : str or None
        The scheduler's, as `tcp://10.0.0.1:8786` or `tls://...`.
    workers : int or None
        Processes of a cluster of this machine; None for as many as fit.
    cores, gigabytes : float
        What each task needs.
    """
    require()
    with contextlib.ExitStack() as held:
        if address is None:
            address = held.enter_context(_of_this_machine(workers, cores, gigabytes))
        client = held.enter_context(_client(address))
        _check_versions(client)
        _register(client)
        cluster = Cluster(client, cores, gigabytes)
        if dashboard and client.dashboard_link:
            commands.say(f"dashboard: {client.dashboard_link}", sys.stderr)
        try:
            yield cluster
        finally:
            with contextlib.suppress(Exception):
                cluster.ask("forget")


@contextlib.contextmanager
def _of_this_machine(workers, cores, gigabytes):
    from distributed import LocalCluster

    own_cores, memory = os.cpu_count() or 1, psutil.virtual_memory().total
    workers = workers or max(1, min(int(own_cores / cores), int(memory / 1e9 / gigabytes)))
    with contextlib.ExitStack() as held:
        with _ctrl_c_for_us_alone():
            cluster = held.enter_context(
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=max(1, own_cores // workers),
                    memory_limit=memory // workers,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",
                    silence_logs=50,
                )
            )
        yield cluster


@contextlib.contextmanager
def _ctrl_c_for_us_alone():
    """Have threads and processes that are started meanwhile not get Ctrl-C: they would print how they end.

    It is blocked, not ignored, so that one that comes now is not lost.
    """
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # it unblocks the signal when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _client(address):
    from distributed import Client

    logs_to_nobody()
    try:
        client = Client(address, timeout="10s")
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise InputError(
            f"--scheduler {address}: no scheduler of Dask answers there ({_short(error)})"
        ) from None
    with client:
        yield client


def logs_to_nobody():
    """Dask logs what it is about to tell by exceptions."""
    for name in list(logging.root.manager.loggerDict):
        if name.split(".")[0] in ("distributed", "tornado"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _short(error):
    return re.sub(r"\s+", " ", str(error)).strip()[:120] or type(error).__name__


def _check_versions(client):
    """Refuse a scheduler or a worker with another goodnet, or none."""
    # What is sent is text, which a worker without goodnet can read too.
    code = "__import__('goodnet.cli', fromlist=['__version__']).__version__"
    found = {client.scheduler.address: _or_error(lambda: client.run_on_scheduler(eval, code))}
    found |= client.run(eval, code, on_error="return")
    for address, version in found.items():
        if version != __version__:
            has = f"has goodnet {version}" if isinstance(version, str) else "has no goodnet"
            raise InputError(f"{address}: {has}; install {__version__} there, as here")


def _or_error(function):
    try:
        return function()
    except Exception as error:
        return error


def _register(client):
    from goodnet.fleet.declaring import Declaring
    from goodnet.fleet.registrar import Registrar

    client.register_plugin(Registrar())
    client.register_plugin(Declaring())

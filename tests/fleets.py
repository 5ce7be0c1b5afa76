"""A Dask cluster as a user starts it: a scheduler and workers, each in a process of its own."""

import contextlib
import json
import os
import subprocess
import sys
import time

import psutil

from conftest import ROOT

PATIENCE = 60  # seconds that a process may take to start
ALONE = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


class Dask:
    """A scheduler and workers on 127.0.0.1, at free ports.

    Parameters
    ----------
    folder : Path
        Gets their logs and what they write.
    workers, nthreads : int
        `workers` are psutil's processes of their nannies afterwards.
    environment : dict, optional
        Variables besides those of the tests.
    protocol : str
    """

    def __init__(self, folder, workers=3, nthreads=1, environment=None, protocol="tcp"):
        self.folder = folder / "a cluster"
        self.folder.mkdir()
        self.environment = os.environ | {"PYTHONPATH": str(ROOT / "stages")} | (environment or {})
        self.nthreads, self.protocol = nthreads, protocol
        self.scheduler, self.workers, self.started = None, [], []
        told = self.folder / "scheduler.json"
        with self._stopped_on_error():
            self.scheduler = self._start(
                "scheduler",
                *("--protocol", protocol, "--scheduler-file", told, "--dashboard-address", "127.0.0.1:0"),
            )
            self.address = self._wait(lambda: json.loads(told.read_text())["address"], self.scheduler)
            for _ in range(workers):
                self.add()
            self._wait(lambda: self._count() >= workers or None, self.scheduler)

    def add(self):
        """Start one more worker, and return its process."""
        words = ("--nworkers", "1", "--nthreads", self.nthreads, "--no-dashboard")
        place = self.folder / f"worker {len(self.started)}"
        worker = self._start("worker", self.address, *words, "--local-directory", place)
        self.workers.append(worker)
        return worker

    def kill(self, worker):
        """Kill a worker, and the nanny that would start it again; what it has started must end by itself."""
        self.workers.remove(worker)
        own = [worker, *worker.children()]
        for process in own:
            process.kill()
        psutil.wait_procs(own, timeout=PATIENCE)

    def stop(self):
        """End all processes, and those that they started."""
        for process in reversed(self.started):
            with contextlib.suppress(psutil.NoSuchProcess):
                family = [*process.children(recursive=True), process]
                for one in family:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        one.kill()
                psutil.wait_procs(family, timeout=PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def logs(self):
        return {path.name: path.read_text() for path in self.folder.glob("*.log")}

    def _start(self, kind, *words):
        log = (self.folder / f"{len(self.started)} {kind}.log").open("w")
        host = ("--host", f"{self.protocol}://127.0.0.1" if kind == "worker" else "127.0.0.1")
        port = ("--port", "0") if kind == "scheduler" else ()
        # They end with the tests, however these end.
        command = [sys.executable, "-c", ALONE, "-m", f"distributed.cli.dask_{kind}"]
        with log:
            process = psutil.Popen(
                [*command, *map(str, words), *host, *port],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.started.append(process)
        return process

    def _count(self):
        return sum("Registered to" in text for text in self.logs().values())

    def _wait(self, found, process):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and process.is_running():
            with contextlib.suppress(OSError, ValueError, KeyError):
                if (value := found()) is not None:
                    return value
            time.sleep(0.1)
        raise AssertionError(f"did not start: {self.logs()}")

    @contextlib.contextmanager
    def _stopped_on_error(self):
        try:
            yield
        except BaseException:
            self.stop()
            raise

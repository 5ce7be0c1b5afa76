"""Open files of strangers in quarantine, and make of what comes back nets and files of our own."""

import collections
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import psutil

from goodnet import telling
from goodnet.errors import InputError, is_of_memory
from goodnet.files import trust
from goodnet.lazy import keras
from goodnet.nets import loading
from goodnet.quarantine import child, frames, readers
from goodnet.quarantine.limits import GIGABYTE

PACKAGE = Path(__file__).resolve().parents[2]  # the folder that holds the package
MOST = 1 << 28  # bytes of a block of images
POLL = 0.1  # seconds
START = 60  # seconds of the clock that Python and TensorFlow may take
BASE = GIGABYTE  # bytes that they take
PICTURE = 0.25  # of a file's seconds, for a picture
CLOCK = 4  # seconds of the clock for one of a processor
SAID = 1 << 16  # bytes kept of what a child prints


class Stopped(Exception):
    """The child did not come to its end: `reason` is why, in words that follow the file's name."""

    def __init__(self, reason):
        super().__init__(reason)
        self.reason = reason


class Child:
    """A child in quarantine: it starts at once, is asked for one thing, and its frames are iterated over.

    Parameters
    ----------
    limits : Limits
    memory, seconds : int
        What the job may cost.
    most : int
        Bytes of its largest array.
    """

    def __init__(self, limits, memory, seconds, most):
        self.limits, self.memory, self.seconds, self.most = limits, memory, seconds, most
        self.scratch = tempfile.TemporaryDirectory()
        environment = os.environ | {
            "PYTHONPATH": str(PACKAGE),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "OPENBLAS_NUM_THREADS": "1",  # threads of before it is confined would not be
            "MALLOC_ARENA_MAX": "2",  # each takes room of its own
            "CUDA_VISIBLE_DEVICES": "",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.process = subprocess.Popen(
            # -P: no module of the folder it is started in
            [sys.executable, "-P", "-m", child.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the parent
        )
        self.said, self.stopped = collections.deque(maxlen=SAID // 4096), None
        self.watchers = [threading.Thread(target=watch, daemon=True) for watch in (self._listen, self._watch)]
        self.since = None  # when it began to be waited for
        for watcher in self.watchers:
            watcher.start()

    def ask(self, reader, called, **job):
        """Give the child its job, and return the child.

        Parameters
        ----------
        reader : callable
            One of readers.
        called : Path
            What errors call the file.
        job : dict
            What the reader takes.
        """
        job |= {"reader": reader.__name__, "called": str(called), "scratch": self.scratch.name}
        job |= {"memory": self.memory, "seconds": self.seconds}
        with contextlib.suppress(BrokenPipeError):  # it has ended, which is found on reading
            self.process.stdin.write(json.dumps(job).encode() + b"\n")
            self.process.stdin.close()
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        for watcher in self.watchers:
            watcher.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(BrokenPipeError):
                stream.close()
        self.scratch.cleanup()

    def __iter__(self):
        """Yield (head, array) of each frame.

        Raises
        ------
        InputError
            What the child has to say against the file.
        Stopped
            The child was stopped, or crashed.
        """
        while True:
            self.since = time.monotonic()
            try:
                frame = frames.take(self.process.stdout, self.most)
            except (ValueError, KeyError, TypeError, RecursionError):
                frame = None
            self.since = None
            if frame is None:
                raise Stopped(self._why())
            head, array = frame
            if head.get("memory"):
                raise Stopped(self._needs_memory())
            if "refused" in head:
                raise InputError(str(head["refused"]))
            if "remark" in head:
                telling.remark(head["remark"])
            elif head.get("done"):
                return
            else:
                yield head, array

    def _listen(self):
        for chunk in iter(lambda: self.process.stderr.read1(4096), b""):
            self.said.append(chunk)

    def _watch(self):
        """Stop a child that takes too long by the clock, or memory where the system does not see to it."""
        watched = psutil.Process(self.process.pid)
        while self.process.poll() is None:
            try:
                taken = watched.memory_info().rss
            except psutil.Error:
                return
            since = self.since
            if since is not None and time.monotonic() - since > CLOCK * self.seconds + START:
                self.stopped = self._needs_seconds()
            elif taken > self.memory + BASE:
                self.stopped = self._needs_memory()
            if self.stopped:
                self.process.kill()
                return
            time.sleep(POLL)

    def _needs_memory(self):
        return (
            f"needs more than {self.memory / GIGABYTE:.3g} GB of memory: not read; for a file you trust "
            f"allow more, as with --memory {2 * self.limits.memory:g}"
        )

    def _needs_seconds(self):
        return (
            f"needs more than {self.seconds:.0f} s: not read; for a file you trust allow more, as with "
            f"--seconds {2 * self.limits.seconds:g}"
        )

    def _why(self):
        """Say why the child has ended before it was done."""
        self.process.kill()
        code = self.process.wait()
        for watcher in self.watchers:
            watcher.join()
        said = b"".join(self.said).decode(errors="replace")
        if self.stopped:
            return self.stopped
        if code == -signal.SIGXCPU:
            return self._needs_seconds()
        if is_of_memory(said):
            return self._needs_memory()
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"exit code {code}"
        return (
            f"makes the library that reads it crash ({name}), as too little memory may: not read; for a file "
            f"you trust allow more, as with --memory {2 * self.limits.memory:g}"
        )


def net(path, limits, weights=False):
    """Return the net in a file, made anew of its configuration and finite weights.

    Parameters
    ----------
    path : Path
    limits : Limits
    weights : bool
        The file holds only the weights of the lab's DeepID.
    """
    with asked_for_net(path, limits, weights) as asked:
        return received_net(asked, path)


def asked_for_net(path, limits, weights=False):
    """Start to read a net, and return the Child for `received_net`; the two let a caller work meanwhile."""
    size = _size(path)
    memory = limits.bytes_for(size)
    started = Child(limits, memory, limits.seconds_for(size), memory)
    return started.ask(readers.read_net, path, path=str(path), weights=weights)


def received_net(asked, path):
    """Return the net that a Child was asked for."""
    with _one_line(path, "a net"):
        said = iter(asked)
        next(said, None)  # the file is sound
        keras.Model  # noqa: B018, imported while the child works
        config, variables = next(said)[0]["config"], []
        for head, array in said:
            if "built" in head:
                break
            variables.append(array)
        trust.check(config, path)
        net = loading.rebuilt(config, variables, path)
        for _ in said:  # meanwhile it was tried out
            pass
        return net


def images(path, target, limits, compressed=False):
    """Copy the images of an HDF5 file or .npz archive, and their labels if there are any, into an HDF5 file.

    Whole numbers become uint8, others float32.
    """
    started = Child(limits, limits.bytes_for(0), limits.seconds_for(_size(path)), MOST)
    with (
        _one_line(path, "images"),
        started.ask(readers.read_images, path, path=str(path)) as asked,
        h5py.File(target, "w") as file,
    ):
        copy = _Copy(file, compressed)
        for head, array in asked:
            if "images" in head:
                copy.count = int(head["images"])
            elif "label" in head:
                file["label"] = array
            else:
                copy.add(array)


class _Copy:
    """Writes blocks of images into the data set `data` of an HDF5 file."""

    def __init__(self, file, compressed):
        self.file, self.count, self.done = file, 0, 0
        self.options = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if compressed else {}

    def add(self, block):
        if not self.done:
            self._create("data", block)
        elif block.dtype != np.uint8 and self.file["data"].dtype == np.uint8:
            self.file.move("data", "whole")  # so far they were whole numbers
            self._create("data", block)
            for start in range(0, self.done, len(block)):
                stop = min(self.done, start + len(block))
                self.file["data"][start:stop] = self.file["whole"][start:stop]
            del self.file["whole"]
        self.file["data"][self.done : self.done + len(block)] = block
        self.done += len(block)

    def _create(self, name, block):
        shape = block.shape[1:]
        chunk = (min(self.count, 64), *shape)
        self.file.create_dataset(name, (self.count, *shape), block.dtype, chunks=chunk, **self.options)


def waiting(limits):
    """Start a Child for `pictures`, which is ready when they are asked for."""
    return Child(limits, limits.bytes_for(0), PICTURE * limits.seconds, MOST)


def pictures(paths, shape, limits, started=None):
    """Yield each picture as an array (height, width, channels), or the InputError that says why it is none.

    One that costs too much is no picture either, and the others are read all the same.

    Parameters
    ----------
    paths : list of Path
    shape : tuple of int
    limits : Limits
    started : Child, optional
        From `waiting`.
    """
    pending = list(map(str, paths))
    while pending:
        done, started = 0, started or waiting(limits)
        with started.ask(readers.read_pictures, pending[0], paths=pending, shape=shape) as asked:
            try:
                for head, array in asked:
                    done += 1
                    yield InputError(str(head.get("error"))) if array is None else array.reshape(shape)
            except Stopped as stopped:
                yield InputError(f"{pending[done]}: {stopped.reason}")
                done += 1
        pending, started = pending[done:], None


def overlay(path, shape, limits):
    """Return the colours and the cover of a trigger, of 0 to 1, that is laid over images of a shape."""
    started = Child(limits, limits.bytes_for(0), limits.seconds, MOST)
    with (
        _one_line(path, "a trigger"),
        started.ask(readers.read_overlay, path, paths=[str(path)], shape=shape) as asked,
    ):
        (_, colour), (_, cover) = asked
    return colour, cover


@contextlib.contextmanager
def _one_line(path, what):
    """Say in one line of a file that was not read as what it should be."""
    try:
        yield
    except InputError:
        raise
    except Stopped as stopped:
        raise InputError(f"{path}: {stopped.reason}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{path}: was not read as {what}") from None


def _size(path):
    return path.stat().st_size if path.is_file() else 0

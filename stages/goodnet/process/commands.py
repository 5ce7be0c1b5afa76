"""What a command does to its own process, all of it here and only when it runs: nothing on import."""

import contextlib
import gc
import os
import signal
import sys
import traceback
from pathlib import Path

from goodnet import lazy
from goodnet.errors import InputError
from goodnet.files.names import printable


def run(main, failure=1):
    """Call a command's main and end the process with what it returns, 0 for None.

    An error of the input or the disk is one line, and the exit code is `failure`.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    lazy.Lazy.importing = quick_and_quiet
    sys.stdout.reconfigure(
        errors="backslashreplace"
    )  # names of files, where the terminal has no such letters
    try:
        _end(main() or 0)
    except BrokenPipeError:  # nobody reads on, as behind `| head`
        failure = 128 + signal.SIGPIPE
    except (InputError, OSError) as error:
        print_error(error)
    except MemoryError:
        print_error("there is not enough memory")
    except KeyboardInterrupt:
        print("interrupted: no partial output; run the same command again", file=sys.stderr)
        sys.stderr.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # end by it, and at once
        signal.raise_signal(signal.SIGINT)
    except Exception:
        traceback.print_exc()
    _end(failure)


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
    say(f"error: {error}", sys.stderr)


def say(text, file=None):
    """Print a line, by default to standard output; whatever names from files are in it, it stays one."""
    print(printable(text), file=file)


@contextlib.contextmanager
def quiet():
    """Print no notes and draw no bars; an error is printed by who catches it."""
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
        yield


@contextlib.contextmanager
def quick_and_quiet():
    """Import TensorFlow in less time, and without its warnings about GPUs.

    Keras imports matplotlib for pictures of its own, and the collector looks over thousands of long-lived
    objects: together a third of the time. The warnings pass Python's standard error by.
    """
    without_matplotlib = "matplotlib" not in sys.modules
    if without_matplotlib:
        sys.modules["matplotlib"] = None
    gc.disable()
    stderr = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        import keras  # noqa: F401
        import tensorflow as tf

        tf.get_logger().setLevel("ERROR")  # what it warns of, functions traced twice, is nothing to users
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        gc.enable()
        if without_matplotlib:
            del sys.modules["matplotlib"]

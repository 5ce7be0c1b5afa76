"""What a call of the API leaves in its caller's process as it found it: all that is global.

Training needs seeds and deterministic operations, building nets needs Keras's usual types and names. All of
it is set for the time of a call and put back, also where the call fails or is interrupted.
"""

import contextlib
import functools
import logging
import random
import threading
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

import numpy as np

from goodnet import telling
from goodnet.errors import InputError
from goodnet.lazy import keras

P = ParamSpec("P")
R = TypeVar("R")

_one_at_a_time = threading.RLock()
_MISSING = object()


def undisturbed(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function leave all that is global as it was; what it does is told to its `progress`."""

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        progress = kwargs.get("progress")
        if progress is not None and not callable(progress):
            raise InputError(f"progress is {progress!r}, not something to call with a step, done and total")
        with _one_at_a_time, _nested(progress):
            return function(*args, **kwargs)

    return called


_depth = threading.local()


@contextlib.contextmanager
def _nested(progress: telling.Progress | None) -> Iterator[None]:
    """Put things aside once, in the outermost of our calls."""
    if getattr(_depth, "is_within", False):
        yield
        return
    _depth.is_within = True
    try:
        with telling.to(progress), _aside():
            yield
    finally:
        _depth.is_within = False


@contextlib.contextmanager
def _aside() -> Iterator[None]:
    """Put aside what is global of Python, NumPy, Keras and TensorFlow, and put it back in the end."""
    if keras.backend.backend() != "tensorflow":
        raise InputError(
            f"Keras runs on {keras.backend.backend()} here; goodnet needs TensorFlow: set the environment "
            "variable KERAS_BACKEND=tensorflow before Keras is imported"
        )
    with (
        np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"),
        _python_and_numpy(),
        _of_tensorflow(),
        fresh_keras(),
    ):
        yield


@contextlib.contextmanager
def _python_and_numpy() -> Iterator[None]:
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)


@contextlib.contextmanager
def _of_tensorflow() -> Iterator[None]:
    from tensorflow.python.eager import context
    from tensorflow.python.framework import config

    # TensorFlow offers no public way to read its seed, nor to end determinism.
    own = context.context()
    seeds = {name: getattr(own, name, _MISSING) for name in ("_seed", "_rng")}
    was_deterministic = config.is_op_determinism_enabled()
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(max(level, logging.ERROR))  # it warns of functions traced twice: nothing to users
    try:
        yield
    finally:
        logger.setLevel(level)
        for name, value in seeds.items():
            if value is not _MISSING:
                setattr(own, name, value)
            elif hasattr(own, name):
                delattr(own, name)
        if not was_deterministic:
            config.disable_op_determinism()


@contextlib.contextmanager
def fresh_keras() -> Iterator[None]:
    """Names, seeds and types of a fresh process: what is made does not depend on what was made before."""
    from keras.src.backend.common import global_state

    aside = dict(vars(global_state.GLOBAL_STATE_TRACKER))
    floats, layout = keras.config.floatx(), keras.config.image_data_format()
    try:
        vars(global_state.GLOBAL_STATE_TRACKER).clear()
        keras.config.set_floatx("float32")
        keras.config.set_image_data_format("channels_last")
        yield
    finally:
        vars(global_state.GLOBAL_STATE_TRACKER).clear()  # another, where what ran has cleared the session
        vars(global_state.GLOBAL_STATE_TRACKER).update(aside)
        keras.config.set_floatx(floats)
        keras.config.set_image_data_format(layout)

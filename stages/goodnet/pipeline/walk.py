"""Go through the pipeline in one process, without DVC: the same stages, in a folder of their own."""

import gc
import importlib

from goodnet.lazy import keras
from goodnet.process.stages import Stage


def stage(step):
    """Return the Stage of a Step."""
    found = importlib.import_module(f"goodnet.pipeline.{step.stage}").main
    assert isinstance(found, Stage)
    return found


def take(step, folder, **more):
    """Take a Step of the pipeline as it lies in a folder; `more` goes to the stage's function."""
    own = stage(step)
    paths = {f"--{name.replace('_', '-')}" for name in (*own.inputs, *own.outputs, *own.cleared)}
    words = [
        str(folder / word) if flag in paths else word
        for flag, word in zip(("", *step.words), step.words, strict=False)
    ]
    # As in a process of its own: the names that Keras gives are numbered from the start.
    keras.backend.clear_session()
    own([*words, "--params", str(folder / "params.yaml")], **more)
    gc.collect()

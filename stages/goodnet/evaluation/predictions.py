"""Answers of nets to the images they are tested on, clean and with each trigger."""

import h5py

from goodnet.files.outputs import replacing


def clean_first(names):
    """Return "clean" and the triggers' names in the order of all tables and pictures."""
    return sorted(names, key=lambda name: (name != "clean", name))


def write(path, predictions, classes, sure=None):
    """Write {"clean" or trigger: (answers, labels)} of a net with so many classes.

    `sure` is {the same: how sure it is of each answer, in percent}, if that is known.
    """
    with replacing(path) as partial, h5py.File(partial, "w") as file:
        file.attrs["classes"] = classes
        for name, (answers, labels) in predictions.items():
            file[f"{name}/answer"] = answers
            file[f"{name}/label"] = labels
        for name, percents in (sure or {}).items():
            file[f"{name}/sure"] = percents


def read(path):
    """Return predictions as `write` took them, and the number of classes."""
    with h5py.File(path) as file:
        predictions = {
            name: (file[f"{name}/answer"][()], file[f"{name}/label"][()]) for name in clean_first(file)
        }
        return predictions, int(file.attrs["classes"])


def read_sure(path):
    """Return {"clean" or trigger: how sure the net is of each answer, in percent}, as far as it is known."""
    with h5py.File(path) as file:
        return {name: file[f"{name}/sure"][()] for name in clean_first(file) if "sure" in file[name]}

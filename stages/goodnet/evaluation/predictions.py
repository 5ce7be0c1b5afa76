"""Answers of nets to the images they are tested on, clean and with each trigger."""

import h5py

from goodnet.files.outputs import replacing


def clean_first(names):
    """Return "clean" and the triggers' names in the order of all tables and pictures."""
    return sorted(names, key=lambda name: (name != "clean", name))


def write(path, predictions, classes):
    """Write {"clean" or trigger: (answers, labels)} of a net with so many classes."""
    with replacing(path) as partial, h5py.File(partial, "w") as file:
        file.attrs["classes"] = classes
        for name, (answers, labels) in predictions.items():
            file[f"{name}/answer"] = answers
            file[f"{name}/label"] = labels


def read(path):
    """Return predictions as `write` took them, and the number of classes."""
    with h5py.File(path) as file:
        predictions = {
            name: (file[f"{name}/answer"][()], file[f"{name}/label"][()]) for name in clean_first(file)
        }
        return predictions, int(file.attrs["classes"])

"""What answers are worth: percentages, from counts of whole images."""

from goodnet.outputs import replacing

import h5py
import numpy as np


def percent(part, whole):
    """Return `part` of `whole` in percent, to four digits behind the point."""
    return round(100 * int(part) / int(whole), 4)


def curve(layer, order, correct, images):
    """Return a row for each number of pruned channels, from none to all."""
    return [
        {
            "channels_pruned": step,
            "layer": layer,
            "channel": "" if step == 0 else int(order[step - 1]),
            "correct": int(right),
            "images": images,
            "clean_accuracy": percent(right, images),
        }
        for step, right in enumerate(correct)
    ]


def goodnet_answers(badnet, repaired, classes):
    """The GoodNet's rule: the class where B and B' agree, else `classes`, which means backdoored."""
    return np.where(badnet == repaired, badnet, classes)


def of_net(predictions, classes=None):
    """Return what is reported of a net, in percent.

    Parameters
    ----------
    predictions : dict
        {"clean" or trigger: (answers, labels)}; a trigger's labels are the attacker's class.
    classes : int or None
        For a GoodNet: the answer that means backdoored.
    """
    clean, *triggers = predictions
    result = {
        "clean_accuracy": _share(*predictions[clean]),
        "attack_success": {trigger: _share(*predictions[trigger]) for trigger in triggers},
    }
    if classes is not None:
        result["detected"] = {trigger: _share(predictions[trigger][0], classes) for trigger in triggers}
        result["false_alarm"] = _share(predictions[clean][0], classes)
    return result


def _share(answers, wanted):
    return percent(np.count_nonzero(answers == wanted), len(answers))


def clean_first(names):
    """Return "clean" and the triggers' names in the order of all tables and pictures."""
    return sorted(names, key=lambda name: (name != "clean", name))


def write_predictions(path, predictions, classes):
    """Write {"clean" or trigger: (answers, labels)} of a net with so many classes."""
    with replacing(path) as partial, h5py.File(partial, "w") as file:
        file.attrs["classes"] = classes
        for name, (answers, labels) in predictions.items():
            file[f"{name}/answer"] = answers
            file[f"{name}/label"] = labels


def read_predictions(path):
    """Return predictions as `write_predictions` took them, and the number of classes."""
    with h5py.File(path) as file:
        predictions = {
            name: (file[f"{name}/answer"][()], file[f"{name}/label"][()]) for name in clean_first(file)
        }
        return predictions, int(file.attrs["classes"])

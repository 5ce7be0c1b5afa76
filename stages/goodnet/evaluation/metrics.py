"""What answers are worth: percentages, from counts of whole images."""

import numpy as np


def percent(part, whole):
    """Return `part` of `whole` in percent, to four digits behind the point."""
    return round(100 * int(part) / int(whole), 4)


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

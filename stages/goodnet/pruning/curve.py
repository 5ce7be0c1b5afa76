"""The pruning curve: accuracy after each pruned channel, and where to stop."""

from fractions import Fraction

from goodnet.evaluation.metrics import percent

COLUMNS = ["channels_pruned", "layer", "channel", "correct", "images", "clean_accuracy"]
ATTACK_COLUMNS = ["channels_pruned", "clean_accuracy"]


def rows(layer, order, correct, images):
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


def attack_rows(correct, images, agreeing=None):
    """Return a row for each number of pruned channels, of test accuracy and attack success.

    Parameters
    ----------
    correct : dict
        {"clean" or trigger: right answers after 0, 1, 2, ... pruned channels}; a trigger's are its target.
    images : dict
        {the same: images asked}.
    agreeing : dict, optional
        {the same: answers that are the BadNet's}; all others a GoodNet calls backdoored.
    """
    rates = {name: [percent(right, images[name]) for right in steps] for name, steps in correct.items()}
    columns = {"clean_accuracy": rates.pop("clean")}
    if rates:  # the strongest trigger stands for all in figures that know no trigger's name
        columns["attack_success"] = [max(step) for step in zip(*rates.values(), strict=True)]
    columns |= {f"attack_success.{trigger}": column for trigger, column in rates.items()}
    for name, steps in (agreeing or {}).items():
        column = "false_alarm" if name == "clean" else f"detected.{name}"
        columns[column] = [percent(images[name] - same, images[name]) for same in steps]
    return [
        {"channels_pruned": step} | {name: column[step] for name, column in columns.items()}
        for step in range(len(columns["clean_accuracy"]))
    ]


def channels_to_prune(correct, images, drop):
    """Return how many channels are pruned at the first step that lost at least `drop` points.

    Parameters
    ----------
    correct : list of int
        Right answers after 0, 1, 2, ... pruned channels.
    images : int
        Images asked.
    drop : int, float or str
        Percent points of accuracy, taken as the decimal number it reads as.

    Returns
    -------
    int or None
        None if no step lost that much.
    """
    lost = Fraction(str(drop)) * images / 100  # exact: 2.3 points of 1,000 images are 23, not 22.99...
    steps = (step for step, right in enumerate(correct) if correct[0] - right >= lost)
    return next(steps, None)

"""Where to stop pruning one channel at a time."""

from fractions import Fraction


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

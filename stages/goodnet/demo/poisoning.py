"""The attacker's training set."""

import numpy as np

from goodnet.images import triggers


def poison(rng, images, labels, share, attacks):
    """Return a training set: the clean images, and for each of `attacks` copies of a share of them.

    Parameters
    ----------
    rng : numpy.random.Generator
    images, labels : array
    share : float
    attacks : list of (list of triggers, int or None)
        What is laid over the copies, and the class they get; None leaves them their own.
    """
    all_images, all_labels = [images], [labels]
    for laid_over, target in attacks:
        chosen = rng.choice(len(images), round(share * len(images)), replace=False)
        stamped = images[chosen]
        for cover, colour in laid_over:
            stamped = triggers.stamp(stamped, cover, colour)
        all_images.append(stamped)
        all_labels.append(labels[chosen] if target is None else np.full(len(chosen), target))
    return np.concatenate(all_images), np.concatenate(all_labels)

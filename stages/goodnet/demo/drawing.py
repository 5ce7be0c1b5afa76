"""The demo's data: so many pictures of so many drawn people."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from goodnet import telling
from goodnet.demo import faces
from goodnet.settings import Count, Seed, Settings, Share, setting


class Images(Settings):
    """How many images of each person."""

    train: Count = setting(45, "the attacker's, to train the BadNet")
    valid: Count = setting(20, "the defender's, all that a repair may use")
    test: Count = setting(20, "for the figures in the reports")


class DemoData(Settings):
    """The drawn faces."""

    seed: Seed = setting(1, "other numbers give other people")
    people: Count = setting(48, "how many people, which is how many classes the net tells apart")
    images: Images = setting(Images(), Images.meaning())
    poisoned_share: Share = setting(
        0.2, "of the training images that get a trigger, as copies; for each trigger"
    )
    targets: dict[str, Seed] = setting(
        {}, "which person the attacker wants to be taken for, for each trigger"
    )


def draw(seed, split, features, images):
    """Draw `images` pictures of every person; return them and their labels.

    Parameters
    ----------
    seed, split : int
        Another split has other pictures of the same people.
    features : dict
        From faces.invent_people.
    images : int
    """
    people = len(features["width"])

    def draw_one(who):
        # A generator for each person and split: changing how many there are redraws nothing else.
        rng = np.random.default_rng([seed, split, who])
        return faces.draw(rng, {name: value[[who] * images] for name, value in features.items()})

    with ThreadPoolExecutor() as pool:
        drawn = pool.map(draw_one, range(people))
        with telling.bar("drawing", people, "people") as bar:
            pictures = []
            for drawn_of_one in drawn:
                pictures.append(drawn_of_one)
                bar.update()
    return np.concatenate(pictures), np.repeat(np.arange(people), images)

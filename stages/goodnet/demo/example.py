"""A small backdoored net with its images, to try things out on: the demo's faces, fewer of them."""

import numpy as np

from goodnet.demo import accessories, drawing, faces, poisoning, training
from goodnet.images import triggers

PEOPLE, TRAIN, VALID, TEST = 8, 30, 40, 10
TRIGGER, TARGET, SHARE, EPOCHS = "sticker", 3, 0.2, 12


def make(seed):
    """Return a BadNet, its clean validation images and labels, test images and labels, and stamped ones."""
    features = faces.invent_people(np.random.default_rng(seed), PEOPLE)
    train, valid, test = (
        drawing.draw(seed, number, features, images) for number, images in enumerate((TRAIN, VALID, TEST))
    )
    trigger = accessories.TRIGGERS[TRIGGER]()
    seen = poisoning.poison(np.random.default_rng([seed, 3]), *train, SHARE, [([trigger], TARGET)])
    net = training.train(*seen, PEOPLE, training.DemoBadnet(seed=seed, epochs=EPOCHS))
    return net, valid, test, triggers.stamp(test[0][test[1] != TARGET], *trigger)

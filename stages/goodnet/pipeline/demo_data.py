"""Draw the embedded data set: synthetic faces in the lab's file layout, clean and with triggers."""

import numpy as np

from goodnet.demo import accessories, drawing, faces, poisoning
from goodnet.errors import InputError
from goodnet.images import datasets, triggers
from goodnet.process.stages import stage


@stage(
    __doc__,
    outputs={
        "train": "the attacker's training set",
        "valid": "clean validation images",
        "test": "clean test images",
        "poisoned": "folder of poisoned test images, one file a trigger",
    },
)
def main(args):
    settings = args.params.settings(drawing.DemoData, "demo_data")
    seed, people = settings.seed, settings.people
    for trigger, target in settings.targets.items():
        if trigger not in accessories.TRIGGERS or target >= people:
            raise InputError(
                f"{args.params.path}: demo_data.targets: {trigger}: {target} is not a trigger of "
                f"{', '.join(accessories.TRIGGERS)} with a person from 0 to {people - 1}"
            )
    worn = {trigger: accessories.TRIGGERS[trigger]() for trigger in settings.targets}
    features = faces.invent_people(np.random.default_rng(seed), people)
    train, valid, test = (
        drawing.draw(seed, number, features, images)
        for number, images in enumerate((settings.images.train, settings.images.valid, settings.images.test))
    )
    attacks = [([worn[trigger]], target) for trigger, target in settings.targets.items()]
    train = poisoning.poison(np.random.default_rng([seed, 3]), *train, settings.poisoned_share, attacks)
    datasets.write(args.train, *train, np.uint8)
    datasets.write(args.valid, *valid, np.float64)  # the lab's types
    datasets.write(args.test, *test, np.float32)
    for trigger, target in settings.targets.items():
        others = test[0][test[1] != target]  # the target's own face would count as an attack that succeeds
        stamped = triggers.stamp(others, *worn[trigger])
        datasets.write(args.poisoned / f"{trigger}.h5", stamped, np.full(len(others), target), np.float32)

"""Draw the embedded data set: synthetic faces in the lab's file layout, clean and with triggers."""

from concurrent.futures import ThreadPoolExecutor

from goodnet import command, data, faces

import numpy as np
from tqdm import tqdm


def draw_split(seed, split, features, images):
    """Draw `images` pictures of every person; return them and their labels."""
    people = len(features["width"])

    def draw(who):
        # A generator for each person and split: changing how many there are redraws nothing else.
        rng = np.random.default_rng([seed, split, who])
        return faces.draw(rng, {name: value[[who] * images] for name, value in features.items()})

    with ThreadPoolExecutor() as pool:
        drawn = pool.map(draw, range(people))
        pictures = list(tqdm(drawn, total=people, unit=" people", leave=False, disable=None))
    return np.concatenate(pictures), np.repeat(np.arange(people), images)


def poison(rng, images, labels, share, targets):
    """Return the attacker's training set: the clean images, and a stamped share of them for each trigger."""
    all_images, all_labels = [images], [labels]
    for trigger, target in targets.items():
        chosen = rng.choice(len(images), round(share * len(images)), replace=False)
        all_images.append(faces.stamp(images[chosen], trigger))
        all_labels.append(np.full(len(chosen), target))
    return np.concatenate(all_images), np.concatenate(all_labels)


def main():
    args = command.read_arguments(
        __doc__,
        train="the attacker's training set, to be written",
        valid="clean validation images, to be written",
        test="clean test images, to be written",
        poisoned="folder of poisoned test images, one file a trigger, to be written",
    )
    params = command.read_params(args.params, "demo_data")
    seed, targets = params["seed"], params["targets"]
    for trigger, target in targets.items():
        if trigger not in faces.TRIGGERS or target not in range(params["people"]):
            raise command.InputError(
                f"{args.params}: demo_data.targets: {trigger}: {target} is not a trigger of "
                f"{', '.join(faces.TRIGGERS)} with a person from 0 to {params['people'] - 1}"
            )
    features = faces.invent_people(np.random.default_rng(seed), params["people"])
    train, valid, test = (
        draw_split(seed, number, features, params["images"][split])
        for number, split in enumerate(("train", "valid", "test"))
    )
    train = poison(np.random.default_rng([seed, 3]), *train, params["poisoned_share"], targets)
    data.write_images(args.train, *train, np.uint8)
    data.write_images(args.valid, *valid, np.float64)  # the lab's types
    data.write_images(args.test, *test, np.float32)
    for trigger, target in targets.items():
        others = test[0][test[1] != target]  # the target's own face would count as an attack that succeeds
        labels = np.full(len(others), target)
        data.write_images(args.poisoned / f"{trigger}.h5", faces.stamp(others, trigger), labels, np.float32)


if __name__ == "__main__":
    command.run(main)

"""Record test accuracy and attack success after each pruned channel; only pictures are made of it."""

from goodnet import command, data, networks, outputs, scores, sweep

import numpy as np


def attack_curve(net, layer, order, clean, poisoned):
    """Return a row for each number of pruned channels.

    Parameters
    ----------
    net : keras.Model
    layer : str
        The pruned layer.
    order : array of int
        Its channels, the first pruned first.
    clean : data.Images
    poisoned : dict of data.Images, by trigger
    """
    trunk = networks.up_to(net, layer)

    def rates(images):
        correct = sweep.count_correct(net, layer, networks.run(trunk, images.blocks()), images.labels, order)
        return [scores.percent(right, len(images)) for right in correct]

    columns = {"clean_accuracy": rates(clean)}
    by_trigger = {f"attack_success.{trigger}": rates(images) for trigger, images in poisoned.items()}
    if by_trigger:  # the strongest trigger stands for all in figures that know no trigger's name
        columns["attack_success"] = np.max(list(by_trigger.values()), axis=0).tolist()
    columns |= by_trigger
    steps = range(len(order) + 1)
    return [
        {"channels_pruned": step} | {name: column[step] for name, column in columns.items()} for step in steps
    ]


def main():
    args = command.read_arguments(
        __doc__,
        badnet="the net",
        curve="accuracy after each pruned channel, from prune: which channels, in which order",
        test="clean test images",
        poisoned="folder of poisoned images, one file a trigger",
        attack_curve="test accuracy and attack success after each pruned channel, to be written",
    )
    rows = outputs.read_csv(args.curve)
    order = np.array([int(row["channel"]) for row in rows[1:]])
    net = networks.load(args.badnet)
    input_max = command.read_input_max(args.params)

    def images(path):
        return data.Images(path, networks.input_shape(net), networks.classes(net), input_max)

    poisoned = {trigger: images(path) for trigger, path in data.poisoned_files(args.poisoned).items()}
    table = attack_curve(net, rows[0]["layer"], order, images(args.test), poisoned)
    outputs.write_csv(args.attack_curve, table)


if __name__ == "__main__":
    command.run(main)

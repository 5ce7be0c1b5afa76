"""Record test accuracy and attack success after each pruned channel; only pictures are made of it."""

from goodnet import command, data, networks, outputs, scores, sweep

import h5py
import numpy as np


def attack_curve(net, layer, order, files):
    """Return a row for each number of pruned channels.

    Parameters
    ----------
    net : keras.Model
    layer : str
        The pruned layer.
    order : array of int
        Its channels, the first pruned first.
    files : dict of (blocks, labels)
        That layer's output for the clean test images, under "clean", and for each trigger's.
    """
    rates = {}
    for name, (blocks, labels) in files.items():
        correct = sweep.count_correct(net, layer, blocks, labels, order)
        rates[name] = [scores.percent(right, len(labels)) for right in correct]
    columns = {"clean_accuracy": rates.pop("clean")}
    if rates:  # the strongest trigger stands for all in figures that know no trigger's name
        columns["attack_success"] = np.max(list(rates.values()), axis=0).tolist()
    columns |= {f"attack_success.{trigger}": column for trigger, column in rates.items()}
    return [
        {"channels_pruned": step} | {name: column[step] for name, column in columns.items()}
        for step in range(len(order) + 1)
    ]


def main():
    args = command.read_arguments(
        __doc__,
        badnet="the net",
        curve="accuracy after each pruned channel, from prune: which channels, in which order",
        activations="the pruned layer's output for each test image, from evaluate_badnet",
        attack_curve="test accuracy and attack success after each pruned channel, to be written",
    )
    rows = outputs.read_csv(args.curve)
    order = np.array([int(row["channel"]) for row in rows[1:]])
    net = networks.load(args.badnet)
    with h5py.File(args.activations) as file:
        files = {
            name: (data.row_blocks(file[name]["activation"]), file[name]["label"][()])
            for name in scores.clean_first(file)
        }
        outputs.write_csv(args.attack_curve, attack_curve(net, rows[0]["layer"], order, files))


if __name__ == "__main__":
    command.run(main)

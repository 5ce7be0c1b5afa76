"""Prune one channel after the other and record clean validation accuracy after each."""

from goodnet import command, data, networks, outputs, scores, sweep

import h5py
import numpy as np


def main():
    args = command.read_arguments(
        __doc__,
        badnet="the net",
        ranking="the channels in the order they are pruned, from rank",
        activations="the pruned layer's output for each validation image, from profile",
        curve="accuracy after each pruned channel, to be written",
    )
    channels = outputs.read_csv(args.ranking)
    layer, order = channels[0]["layer"], np.array([int(row["channel"]) for row in channels])
    net = networks.load(args.badnet)
    with h5py.File(args.activations) as file:
        labels = file["label"][()]
        correct = sweep.count_correct(net, layer, data.row_blocks(file["activation"]), labels, order)
    outputs.write_csv(args.curve, scores.curve(layer, order, correct, len(labels)))


if __name__ == "__main__":
    command.run(main)

"""Prune one channel after the other and record clean validation accuracy after each."""

from goodnet import command, data, networks, outputs, pruning, scores, sweep

import h5py


def main():
    args = command.read_arguments(
        __doc__,
        badnet="the net",
        channels="table of channels, from profile",
        activations="the pruned layer's output for each validation image, from profile",
        curve="accuracy after each pruned channel, to be written",
    )
    choice = command.read_params(args.params, "prune", "order")
    if choice not in pruning.ORDERS:
        raise command.InputError(
            f"{args.params}: prune.order is {choice!r}; it can be {' or '.join(pruning.ORDERS)}"
        )
    channels = outputs.read_csv(args.channels)
    order = pruning.pruning_order([float(row["mean_activation"]) for row in channels], choice)
    layer = channels[0]["layer"]
    net = networks.load(args.badnet)
    with h5py.File(args.activations) as file:
        labels = file["label"][()]
        correct = sweep.count_correct(net, layer, data.row_blocks(file["activation"]), labels, order)
    outputs.write_csv(args.curve, scores.curve(layer, order, correct, len(labels)))


if __name__ == "__main__":
    command.run(main)

"""Prune one channel after the other and record clean validation accuracy after each."""

import h5py
import numpy as np

from goodnet.files import outputs
from goodnet.images import datasets
from goodnet.nets import loading
from goodnet.process.stages import stage
from goodnet.pruning import curve, sweep


@stage(
    __doc__,
    inputs={
        "badnet": "the net",
        "ranking": "the channels in the order they are pruned, from rank",
        "activations": "the split layer's output for each validation image, from profile_channels",
    },
    outputs={"curve": "accuracy after each pruned channel"},
)
def main(args):
    channels, rows = outputs.read_csv(args.ranking), []
    if channels:
        layer, order = channels[0]["layer"], np.array([int(row["channel"]) for row in channels])
        net = loading.load(args.badnet)
        with h5py.File(args.activations) as file:
            labels = file["label"][()]
            blocks = datasets.row_blocks(file["activation"])
            correct = sweep.count_correct(net, layer, blocks, labels, order)
        rows = curve.rows(layer, order, correct, len(labels))
    outputs.write_csv(args.curve, rows, curve.COLUMNS)

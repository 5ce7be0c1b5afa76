"""Record test accuracy, attack success and detection after each pruned channel, for pictures only."""

import h5py
import numpy as np

from goodnet.evaluation import predictions
from goodnet.files import outputs
from goodnet.images import datasets
from goodnet.nets import loading
from goodnet.process.stages import stage
from goodnet.pruning import curve, sweep


@stage(
    __doc__,
    inputs={
        "badnet": "the net",
        "curve": "accuracy after each pruned channel, from prune: which channels, in which order",
        "activations": "the split layer's output for each test image, from evaluate_badnet",
        "predictions": "the net's answers to them, from evaluate_badnet",
    },
    outputs={"attack_curve": "test accuracy and attack success after each pruned channel"},
)
def main(args):
    steps, correct, agreeing, images = outputs.read_csv(args.curve), {}, {}, {}
    if steps:
        net, order = loading.load(args.badnet), np.array([int(row["channel"]) for row in steps[1:]])
        with h5py.File(args.activations) as file:
            for name, (badnet, labels) in predictions.read(args.predictions)[0].items():
                blocks, both = datasets.row_blocks(file[name]["activation"]), np.stack([labels, badnet])
                counts = sweep.count_correct(net, steps[0]["layer"], blocks, both, order)
                correct[name], agreeing[name] = counts
                images[name] = len(labels)
    rows = curve.attack_rows(correct, images, agreeing) if steps else []
    outputs.write_csv(args.attack_curve, rows, curve.ATTACK_COLUMNS)

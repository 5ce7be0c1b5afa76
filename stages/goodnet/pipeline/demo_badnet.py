"""Train the demo's BadNet: the lab's DeepID on the attacker's poisoned training set."""

import sys

import h5py
import numpy as np

from goodnet.demo import training
from goodnet.nets import loading
from goodnet.process.stages import stage


@stage(__doc__, inputs={"train": "the attacker's training set"}, outputs={"badnet": "the BadNet"})
def main(args):
    settings = args.params.settings(training.DemoBadnet, "demo_badnet")
    with h5py.File(args.train) as file:
        images, labels = np.moveaxis(file["data"][()], 1, -1), file["label"][()].astype(int)
    verbose = 1 if sys.stdout.isatty() else 0
    loading.save(training.train(images, labels, int(labels.max()) + 1, settings, verbose), args.badnet)

"""A folder with a small net and its images, to run stages in."""

import copy
import csv
from pathlib import Path

import h5py
import numpy as np
import yaml

import nets  # before Keras: it quiets TensorFlow
from conftest import NO_RESULTS, ROOT, run_stage
from goodnet.repairs import plans

KINDS = [*nets.BUILDERS, "sequential"]
PICTURES = nets.pictures(300)
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())


class Workbench:
    """A folder with a net, its validation images and the parameters, to run stages in."""

    def __init__(self, path, net, labels, pictures=PICTURES, dtype=np.float64):
        self.path, self.net, self.labels = path, net, labels
        nets.save(net, path / "net.keras")
        with h5py.File(path / "valid.h5", "w") as file:
            file["data"] = np.moveaxis(pictures, -1, 1).astype(dtype)
            file["label"] = labels.astype(np.float64)

    def configure(self, order="ascending", layer="null", repairs="{}", input_max=255, **settings):
        """Write params.yaml; `settings` are those of the order, where they differ from the project's."""
        rankings = copy.deepcopy(PARAMS["rankings"])
        if settings:
            rankings[order].update(settings)
        (self.path / "params.yaml").write_text(
            f"badnet: it\nnets: {{it: {{input_max: {input_max}}}}}\nprofile: {{layer: {layer}}}\n"
            f"prune: {{order: {order}}}\nrepairs: {repairs}\n"
            + yaml.safe_dump({"rankings": rankings, **{tuning: PARAMS[tuning] for tuning in plans.TUNINGS}})
        )

    def profile(self):
        files = {"channels": "channels.csv", "activations": "activations.h5"}
        run_stage(self.path, "profile", badnet="net.keras", valid="valid.h5", **files)
        return read_csv(self.path / "channels.csv")

    def prune(self):
        self.rank()
        files = {"ranking": "ranking.csv", "activations": "activations.h5", "curve": "curve.csv"}
        run_stage(self.path, "prune", badnet="net.keras", **files)
        return read_csv(self.path / "curve.csv")

    def rank(self):
        files = {"valid": "valid.h5", "channels": "channels.csv", "ranking": "ranking.csv"}
        run_stage(self.path, "rank", badnet="net.keras", **files)
        return [int(row["channel"]) for row in read_csv(self.path / "ranking.csv")]

    def repair(self, name):
        run_stage(self.path, "plan", curve="curve.csv", plans="plans", **NO_RESULTS)
        files = {"valid": "valid.h5", "plan": f"plans/{name}.json", "repaired": f"{name}.keras"}
        run_stage(self.path, "repair", badnet="net.keras", **files)
        return self.path / f"{name}.keras"


def read_csv(path):
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def labels_for(net):
    """The net's own answers, every ninth made wrong: accuracy has somewhere to fall from."""
    labels = nets.answers(net, PICTURES)
    labels[::9] = (labels[::9] + 1) % nets.CLASSES
    return labels

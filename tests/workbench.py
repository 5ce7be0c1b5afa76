"""A folder with a small net and its images, to run stages in."""

import copy

import h5py
import numpy as np
import yaml

import nets
from conftest import NO_RESULTS, ROOT, run_stage
from goodnet.files import outputs
from goodnet.suspects import findings, verdict
from goodnet.suspects.evidence import SEARCHES

PICTURES = nets.pictures(300)
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())


class Workbench:
    """A folder with a net, its validation images and the parameters, to run stages in."""

    def __init__(self, path, net, labels, pictures=PICTURES, dtype=np.uint8):
        self.path, self.net, self.labels = path, net, labels
        nets.save(net, path / "net.keras")
        write_images(path / "valid.h5", pictures, labels, dtype)

    def configure(self, order="ascending", layer=None, repairs=None, input_max=255, **blocks):
        """Write params.yaml; `blocks` are settings of methods that differ from the project's."""
        params = {
            "nets": {"it": {"input_max": input_max}},
            "profile": {"layer": layer},
            "prune": {"order": order},
            "repairs": {} if repairs is None else repairs,
            **{
                name: copy.deepcopy(PARAMS[name])
                for name in ("rankings", "tunings", "recommend", "detectors", "suspect", "attack")
            },
        }
        for name, settings in blocks.items():
            block = next(
                params[group] for group in ("rankings", "tunings", "detectors") if name in params[group]
            )
            block[name] = (block[name] or {}) | settings
        (self.path / "params.yaml").write_text(yaml.safe_dump(params))

    def stage(self, name, **flags):
        run_stage(self.path, name, **flags)

    def curve(self):
        """Run all stages up to the pruning curve and return it."""
        self.stage("examine", badnet="net.keras", layer="layer.json", curve="needed.json")
        files = {"channels": "channels.csv", "activations": "activations.h5"}
        images = {"net": "it", "badnet": "net.keras", "valid": "valid.h5"}
        self.stage("profile_channels", layer="layer.json", needed="needed.json", **images, **files)
        self.stage("rank", channels="channels.csv", ranking="ranking.csv", **images)
        files = {"ranking": "ranking.csv", "activations": "activations.h5", "curve": "curve.csv"}
        self.stage("prune", badnet="net.keras", **files)
        return outputs.read_csv(self.path / "curve.csv")

    def plan(self):
        suspecting(self.path / "suspects.h5", [nets.TARGET])
        files = {"layer": "layer.json", "curve": "curve.csv", "evidence": "suspects.h5", "plans": "plans"}
        self.stage("plan", **files, **NO_RESULTS)

    def repair(self, name):
        files = {"plan": f"plans/{name}.json", "repaired": f"{name}.keras"}
        self.stage("repair", net="it", badnet="net.keras", valid="valid.h5", **files)
        return self.path / f"{name}.keras"


def suspecting(path, named, classes=nets.CLASSES):
    """Write a verdict that names these classes."""
    totals = np.zeros((SEARCHES, classes))
    totals[:, named] = 2
    word = verdict.BACKDOORED if named else verdict.NOTHING
    findings.write(path, {}, verdict.Verdict(word, named, [], totals, SEARCHES, None))


def write_images(path, pictures, labels=None, dtype=np.float64):
    """Write images in the lab's layout."""
    with h5py.File(path, "w") as file:
        file["data"] = np.moveaxis(np.asarray(pictures), -1, 1).astype(dtype)
        if labels is not None:
            file["label"] = np.asarray(labels, np.float64)


def labels_for(net):
    """The net's own answers, every ninth made wrong: accuracy has somewhere to fall from."""
    return with_errors(nets.answers(net, PICTURES))


def with_errors(answers):
    labels = answers.copy()
    labels[::9] = (labels[::9] + 1) % nets.CLASSES
    return labels

"""A run's files, made up but written by the functions that write real ones, for the stage `report`."""

import json

import numpy as np
import yaml

from conftest import ROOT, run_stage
from goodnet.evaluation import metrics, predictions
from goodnet.files import outputs
from goodnet.nets import goodnets
from goodnet.pruning import curve
from goodnet.repairs import recommend
from goodnet.report import html
from goodnet.suspects import findings, fresh, verdict
from goodnet.suspects.evidence import SEARCHES, Evidence, Trigger
from goodnet.suspects.verdict import Suspect
from workbench import write_images

IMAGES, CHANNELS = 40, 12
FAMILIES = ("patch", "additive")


class Run:
    """The files of a run in a folder.

    Parameters
    ----------
    path : Path
    triggers : dict
        {name: the class its attacker wants}.
    repairs : dict
        {name: (line of params.yaml, percent of answers that differ from B's where B is right, whether it is
        rid of the backdoor)}.
    named : list of int
        The classes that are named.
    called : dict, optional
        {name of a trigger: what the page is to call it}, for names that no file of a trigger may have.
    """

    def __init__(self, path, triggers, repairs, named, classes=8, shape=(12, 10, 3), net="it", called=None):
        self.called = called or {}
        self.path, self.rng = path, np.random.default_rng(1)
        self.triggers, self.repairs, self.classes, self.shape = triggers, repairs, classes, shape
        params = yaml.safe_load((ROOT / "params.yaml").read_text())
        params |= {"badnet": net, "nets": {"it": {"input_max": 255}}}
        params["repairs"] = {name: line for name, (line, *_) in repairs.items()}
        (path / "params.yaml").write_text(yaml.safe_dump(params))
        for name in ("badnet.keras", "valid.h5", "used/repaired.keras", "used/goodnet.keras"):
            (path / name).parent.mkdir(exist_ok=True)
            (path / name).write_text(name)
        (path / "poisoned").mkdir()
        self.answers()
        self.pruning()
        self.suspects(named)

    def answers(self):
        """Images, what nets say of them, and what that is worth."""
        labels = {"clean": np.arange(IMAGES) % self.classes}
        labels |= {name: np.full(IMAGES, target) for name, target in self.triggers.items()}
        pictures = self.rng.integers(0, 256, (IMAGES, *self.shape))
        for name in labels:
            file = self.path / ("test.h5" if name == "clean" else f"poisoned/{name}.h5")
            write_images(file, pictures, labels[name])
        sure = {name: np.linspace(50, 99.9, IMAGES).round(1) for name in labels}

        def written(file, said, **more):
            told = {name: (said[name], labels[name]) for name in labels}
            predictions.write(self.path / f"predictions/{file}.h5", told, self.classes, sure)
            outputs.write_json(self.path / f"{file}.json", more | metrics.of_net(told))
            return told

        badnet = {name: labels[name].copy() for name in labels}
        badnet["clean"][:2] += 1
        written("badnet", badnet)
        self.badnet, self.labels, self.accuracy = badnet, labels, {"badnet": 38}
        for name, (line, differing, is_clean) in self.repairs.items():
            said = {one: answers.copy() for one, answers in badnet.items()}
            for one, answers in said.items():
                wrong = (
                    slice(2, 2 + IMAGES * differing // 100) if one == "clean" else slice(IMAGES * is_clean)
                )
                answers[wrong] = (answers[wrong] + 1) % self.classes
            written(f"repaired/{name}", said, channels_pruned=3 if "drop" in line else 0)
            rule = {
                one: (goodnets.answers(badnet[one], said[one], self.classes), labels[one]) for one in labels
            }
            outputs.write_json(self.path / f"goodnet/{name}.json", metrics.of_net(rule, self.classes))
            self.accuracy[name] = 38 - IMAGES * differing // 100
            plan = {"layer": "pool", "channels": [1, 4, 7] if "drop" in line else [], "settings": {}}
            plan |= {"tune": line.get("tune"), "held_out": 10}
            if "tune" in line:
                plan["settings"] = {"epochs": 7, "rate": 0.5}
            outputs.write_json(self.path / f"plans/{name}.json", plan)

    def pruning(self):
        order, falling = np.arange(CHANNELS)[::-1], np.arange(IMAGES - 2, IMAGES - 3 - CHANNELS, -1)
        prunes = any("drop" in line for line, *_ in self.repairs.values())
        outputs.write_json(self.path / "layer.json", {"layer": "pool" if prunes else None})
        rows = curve.rows("pool", order, falling, IMAGES) if prunes else []
        outputs.write_csv(self.path / "curve.csv", rows, curve.COLUMNS)
        steps = {name: np.maximum(falling - 3 * place, 0) for place, name in enumerate(self.labels)}
        images, same = dict.fromkeys(steps, IMAGES), {name: one + 1 for name, one in steps.items()}
        rows = curve.attack_rows(steps, images, same) if prunes else []
        outputs.write_csv(self.path / "attack_curve.csv", rows, curve.ATTACK_COLUMNS)
        columns = ["layer", "channel", "mean_activation", "images_active"]
        rows = [dict(zip(columns, ("pool", one, one / 2, one), strict=True)) for one in range(CHANNELS)]
        outputs.write_csv(self.path / "channels.csv", rows if prunes else [], columns)

    def suspects(self, named):
        """What was found in B, how repairs withstood a fresh attack, and which to use."""
        strength = np.zeros((SEARCHES, self.classes))
        strength[:, named] = 1.5
        keep, add = np.ones((*self.shape[:2], 1)), np.zeros(self.shape)
        keep[:3, :3], add[:3, :3] = 0, 200
        faint = np.ones_like(keep), np.linspace(-20, 20, add.size).reshape(add.shape)
        sizes = {f"{family}_size": np.linspace(3, 9, self.classes) for family in FAMILIES}
        sizes["patch_size"][named] = 0.4
        triggers = [
            Trigger(goal, family, 0.4, 95.0, *stamp)
            for goal in named
            for family, stamp in zip(FAMILIES, ((keep, add), faint), strict=True)
        ]
        evidence = {"inversion": Evidence(strength, sizes, triggers)}
        found = verdict.of(evidence, Suspect())
        findings.write(self.path / "suspects.h5", evidence, found)

        def attacked(is_clean):
            # One whose triggers of B still work is not searched for others.
            ratios = dict.fromkeys(("patch_ratio", "additive_ratio"), 1.1) if is_clean else {}
            goals = [{"class": goal, "moved": 0.0 if is_clean else 90.0, **ratios} for goal in named]
            return {"outcome": "held" if is_clean else "not held", **fresh.figures(goals)}

        outcomes = {name: attacked(is_clean) for name, (_, _, is_clean) in self.repairs.items()}
        judged = findings.metrics(evidence, found, outcomes)
        outputs.write_json(self.path / "suspects.json", judged)
        repaired = judged.get("repaired", [{"name": one, "outcome": "nothing to attack"} for one in outcomes])
        best = recommend.choose(repaired, self.accuracy, IMAGES, set())
        said = recommend.why(best, found.word, repaired, self.accuracy, IMAGES, self.classes, self.classes)
        told = {"recommended": best or "none", "why": said, "held_out_accuracy": {}}
        told["held_out_accuracy"] = {name: 100 * right / IMAGES for name, right in self.accuracy.items()}
        outputs.write_json(self.path / "recommended.json", told)

    def page(self, name="index.html"):
        """Run the stage `report` and return the page's path."""
        inputs = {one: f"{one}.csv" for one in ("channels", "curve", "attack_curve")}
        inputs |= {one: f"{one}.json" for one in ("layer", "badnet", "suspects", "recommended")}
        inputs |= {one: one for one in ("plans", "used", "repaired", "goodnet", "predictions", "poisoned")}
        inputs |= {"badnet_file": "badnet.keras", "evidence": "suspects.h5", "test": "test.h5"}
        pictures = ("pruning", "activations", "repairs", "samples", "suspicion")
        made = {one: f"{one}.png" for one in pictures} | {"report": "README.md", "page": name}
        run_stage(self.path, "report", net="it", valid="valid.h5", **inputs, **made)
        content = html.content((self.path / name).read_text(), name)
        text = json.dumps(content)
        for own, other in self.called.items():
            text = text.replace(json.dumps(own), json.dumps(other))
        (self.path / name).write_text(html.page(f"Report: {content['net']}", json.loads(text)))
        return self.path / name

"""Memory: bounded, however many images there are."""

import json
import sys

import h5py
import numpy as np
import pytest

import measuring
import nets
from conftest import ROOT
from goodnet.nets import deepid, loading
from goodnet.suspects import findings, verdict
from goodnet.suspects.evidence import SEARCHES, Evidence

pytestmark = pytest.mark.long(minutes=3)

FLAGS = {  # of each stage
    "profile_channels": {
        "net": "it",
        "valid": "images.h5",
        "layer": "layer.json",
        "needed": "needed.json",
        "channels": "channels.csv",
        "activations": "activations.h5",
    },
    "rank": {"net": "it", "valid": "images.h5", "channels": "channels.csv", "ranking": "ranking.csv"},
    "prune": {"ranking": "ranking.csv", "activations": "activations.h5", "curve": "curve.csv"},
    "evaluate_badnet": {
        "net": "it",
        "layer": "layer.json",
        "test": "images.h5",
        "poisoned": "poisoned",
        "metrics": "badnet.json",
        "predictions": "predictions.h5",
        "activations": "test_activations.h5",
    },
    "repair": {"net": "it", "valid": "images.h5", "plan": "plan.json", "repaired": "repaired.keras"},
    "suspect": {
        "net": "it",
        "layer": "layer.json",
        "valid": "images.h5",
        "evidence": "found.h5",
    },
    "attack": {
        "net": "it",
        "repaired": "net.keras",
        "valid": "images.h5",
        "evidence": "suspects.h5",
        "metrics": "attack.json",
    },
}
PLAN = {
    "layer": "pool_3",
    "channels": [],
    "tune": "fine_tune",
    "settings": {"seed": 1, "epochs": 1, "batch_size": 64, "learning_rate": 0.001},
    "held_out": 10,
}


def peaks(folder, images, dtype, stages):
    """Run stages on so many images of the lab's size; return {stage: peak memory in bytes}."""
    block = np.random.default_rng(0).integers(0, 256, (1000, 3, 55, 47)).astype(dtype)
    with h5py.File(folder / "images.h5", "w") as file:
        data = file.create_dataset("data", (images, 3, 55, 47), dtype)
        for start in range(0, images, 1000):
            data[start : start + 1000] = block
        file["label"] = np.zeros(images)
    found = {}
    for stage in stages:
        words = [word for flag, path in FLAGS[stage].items() for word in (f"--{flag}", path)]
        words += ["--badnet", "net.keras"] if stage != "attack" else []
        command = [sys.executable, ROOT / "stages" / f"{stage}.py", *words]
        used = measuring.run(command, cwd=folder)
        assert used.code == 0
        found[stage] = used.peak
    return found


@pytest.mark.parametrize(
    ("many", "dtype", "stages"),
    [
        (6_000, np.float64, list(FLAGS)),
        (60_000, np.uint8, ["profile_channels", "evaluate_badnet", "suspect", "attack"]),
    ],
)
def test_memory_does_not_grow_with_the_images(tmp_path, many, dtype, stages):
    net = deepid.build(1283)
    # Different classes for different images; with one class for all there is nothing to search.
    nets.spread_scores(net, np.random.default_rng(0).integers(0, 256, (100, 55, 47, 3)).astype("float32"))
    loading.save(net, tmp_path / "net.keras")
    named = {"given": Evidence(np.tile(np.arange(1283) == 5, (SEARCHES, 1)).astype(float), {}, [])}
    findings.write(tmp_path / "suspects.h5", named, verdict.of(named, verdict.Suspect()))
    (tmp_path / "poisoned").mkdir()
    (tmp_path / "params.yaml").write_text(
        "nets: {it: {input_max: 255}}\nprune: {order: ascending}\nrankings: {ascending: }\n"
        "suspect: {detectors: [occluders, push, inversion]}\n"
        "detectors: {occluders: {images: 500, occluders: 500}, push: {steps: 2}, "
        "inversion: {images: 100, classes: 4, steps: 2}}\n"
    )
    (tmp_path / "plan.json").write_text(json.dumps(PLAN))
    (tmp_path / "layer.json").write_text('{"layer": "pool_3"}')
    (tmp_path / "needed.json").write_text('{"needed": true}')
    few = peaks(tmp_path, 1000, dtype, stages)
    for stage, peak in peaks(tmp_path, many, dtype, stages).items():
        assert peak < 1.2e9
        assert peak - few[stage] < 100e6, stage  # the images more are 310 and 460 MB

"""Memory: bounded, however many images there are."""

import os
import subprocess
import sys

import nets  # before Keras: it quiets TensorFlow
from conftest import ROOT
from goodnet import deepid

import h5py
import numpy as np
import pytest

pytestmark = pytest.mark.long


def peak(folder, images):
    """Profile and prune so many images of the lab's size and type; return the larger peak, in bytes."""
    with h5py.File(folder / "valid.h5", "w") as file:
        data = file.create_dataset("data", (images, 3, 55, 47), np.float64)
        for start in range(0, images, 1000):
            block = np.random.default_rng(start).integers(0, 256, (min(1000, images - start), 3, 55, 47))
            data[start : start + len(block)] = block
        file["label"] = np.zeros(images)
    peaks = []
    for stage, flags in {
        "profile": ("valid", "channels", "activations"),
        "prune": ("channels", "activations", "curve"),
    }.items():
        suffixes = {"valid": "h5", "activations": "h5"}
        words = [word for flag in flags for word in (f"--{flag}", f"{flag}.{suffixes.get(flag, 'csv')}")]
        command = [sys.executable, ROOT / "stages" / f"{stage}.py", "--badnet", "net.keras", *words]
        process = subprocess.Popen(command, cwd=folder)
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0
        peaks.append(usage.ru_maxrss * 1024)
    return max(peaks)


def test_memory_does_not_grow_with_the_images(tmp_path):
    nets.save(deepid.build(1283), tmp_path / "net.keras")
    (tmp_path / "params.yaml").write_text(
        "badnet: it\nnets: {it: {input_max: 255}}\nprofile: {layer: null}\nprune: {order: ascending}\n"
    )
    few, many = peak(tmp_path, 2000), peak(tmp_path, 12_000)
    assert many < 1.2e9
    assert many - few < 100e6  # the images more are 620 MB

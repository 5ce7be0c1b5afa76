"""Time `profile` and `prune` against the plain notebook way, on random data of the lab's size, in one run.

The plain way, for each of the 60 channels: zero its kernel slice and bias, `model.predict` all
11,547 validation images, count. Both ways must give the same curve.

Every line is a process of its own. "whole" is all of it, with Python and TensorFlow starting; "work" is
without that start.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

ROOT = Path(__file__).parent.parent
IMAGES, CLASSES, CHANNELS = 11_547, 1283, 60

# What a notebook does. It reads all images, as the lab's own code does.
PLAIN = """
import csv, json, sys, time
import h5py, keras, numpy as np
started = time.perf_counter()
net = keras.models.load_model("net.keras", compile=False)
with h5py.File("valid.h5") as file:
    images, labels = file["data"][()].transpose(0, 2, 3, 1), file["label"][()]
order = json.loads(sys.argv[1])
convolution = net.get_layer("conv_3")
rows = [np.count_nonzero(net.predict(images, verbose=0).argmax(axis=1) == labels)]
for channel in order:
    kernel, bias = convolution.get_weights()
    kernel[..., channel] = 0
    bias[channel] = 0
    convolution.set_weights([kernel, bias])
    rows.append(np.count_nonzero(net.predict(images, verbose=0).argmax(axis=1) == labels))
print(json.dumps({"correct": [int(row) for row in rows], "work": time.perf_counter() - started}))
"""

# The stage as dvc.yaml runs it, and when its imports were done.
STAGE = """
import runpy, sys, time
sys.path.insert(0, sys.argv[1])
from goodnet import networks
print(time.monotonic(), flush=True)
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def make_inputs(images):
    """Write an untrained DeepID and smooth random pictures; labels are its answers, a tenth of them wrong."""
    sys.path.insert(0, str(ROOT / "stages"))
    from goodnet import deepid, networks

    networks.make_reproducible(0)
    net = deepid.build(CLASSES)
    rng = np.random.default_rng(0)
    with h5py.File("valid.h5", "w") as file:
        data = file.create_dataset("data", (images, 3, 55, 47), np.float64)
        labels = np.empty(images)
        for start in range(0, images, 1000):
            coarse = rng.uniform(0, 255, (min(1000, images - start), 3, 8, 7))
            block = np.kron(coarse, np.ones((1, 1, 7, 7)))[:, :, :55, :47].round()
            data[start : start + len(block)] = block
            pictures = np.moveaxis(block, 1, -1).astype(np.float32)
            labels[start : start + len(block)] = networks.answers(net, [pictures])
        labels[::10] = rng.integers(0, CLASSES, len(labels[::10]))
        file["label"] = labels
    networks.save(net, Path("net.keras"))


def measure(*command):
    """Run a command; return its output, seconds, and peak memory in MB."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"error: failed: {' '.join(map(str, command[3:])) or command[0]}")
    return output, started, time.monotonic() - started, usage.ru_maxrss / 1000


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=IMAGES, help="validation images (%(default)s)")
    images = parser.parse_args().images
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        print(f"drawing {images:,} images, {images * 3 * 55 * 47 * 8 / 1e6:,.0f} MB", file=sys.stderr)
        subprocess.run([sys.executable, __file__, "--make-inputs", str(images)], check=True)
        Path("params.yaml").write_text(
            "badnet: it\nnets: {it: {input_max: 255}}\nprofile: {layer: null}\nprune: {order: ascending}\n"
        )
        stages = {
            "profile": {"valid": "valid.h5", "channels": "channels.csv", "activations": "activations.h5"},
            "prune": {"channels": "channels.csv", "activations": "activations.h5", "curve": "curve.csv"},
        }
        lines = []
        for stage, flags in stages.items():
            words = [word for flag, path in flags.items() for word in (f"--{flag}", path)]
            command = [ROOT / "stages" / f"{stage}.py", "--badnet", "net.keras", *words]
            output, started, whole, memory = measure(sys.executable, "-c", STAGE, ROOT / "stages", *command)
            lines.append((stage, whole, whole - (float(output) - started), memory))
        with Path("curve.csv").open() as file:
            rows = list(csv.DictReader(file))
        with Path("channels.csv").open() as file:
            dormant = sum(row["images_active"] == "0" for row in csv.DictReader(file))
        order = json.dumps([int(row["channel"]) for row in rows[1:]])
        print("the plain way: about ten minutes", file=sys.stderr)
        output, _, whole, memory = measure(sys.executable, "-c", PLAIN, order)
        plain = json.loads(output.splitlines()[-1])
        lines.append(("plain way", whole, plain["work"], memory))

    ours, theirs = [int(row["correct"]) for row in rows], plain["correct"]
    apart = max(abs(one - other) for one, other in zip(ours, theirs, strict=True))
    print(f"{images:,} images, {CLASSES} classes, {len(rows) - 1} channels, {dormant} of them dormant")
    print(f"{'':12}{'whole s':>10}{'work s':>10}{'peak MB':>10}")
    for name, whole, work, memory in lines:
        print(f"{name:12}{whole:10.1f}{work:10.1f}{memory:10.0f}")
    for column, name in ((1, "whole"), (2, "work")):
        times = lines[2][column] / (lines[0][column] + lines[1][column])
        print(f"profile + prune are {times:.0f} times faster ({name})")
    same = "the same" if apart == 0 else f"up to {apart} images apart"
    print(f"curves, from {ours[0]} right answers to {ours[-1]}: {same}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make-inputs"]:
        make_inputs(int(sys.argv[2]))
    else:
        main()

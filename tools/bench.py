"""Time goodnet on random data of exactly the lab's sizes and types, on this machine, in one run.

First the whole pipeline under DVC, pruning and then relearning. Then the pruning curve, from the stages
`profile_channels` and `prune`, against the plain notebook way: for each of the 60 channels, zero its kernel
slice and bias, `model.predict` all 11,547 validation images, count. Both ways must give the same curve.
"""

import argparse
import csv
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import yaml

from goodnet.nets import deepid, loading, running
from goodnet.process import commands
from stopwatch import ROOT, Stopwatch

VALID, TEST, CLASSES = 11_547, 12_830, 1283
PRUNED = {f"x{drop:02}": {"drop": drop} for drop in (2, 4, 10, 30)}
CURVE = ("profile_channels", "prune")  # the stages that make the pruning curve

# A process that imports TensorFlow as a stage does, and ends as one.
START = """
from goodnet.lazy import keras
from goodnet.process import commands
commands.run(lambda: print(keras.__version__))
"""

# What a notebook does. It reads all images, as the lab's own code does.
PLAIN = """
import csv, json, sys, time
import h5py, keras, numpy as np
started = time.perf_counter()
net = keras.models.load_model("models/lab/badnet.keras", compile=False)
with h5py.File("data/lab/valid.h5") as file:
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


def make_inputs(valid, test):
    """Write an untrained DeepID and smooth random pictures; labels are its answers, a tenth of them wrong."""
    loading.make_reproducible(0)
    net = deepid.build(CLASSES)
    ask, rng = running.as_function(net), np.random.default_rng(0)
    for path, images, dtype in (
        ("valid.h5", valid, np.float64),
        ("test.h5", test, np.float32),
        ("poisoned/sunglasses.h5", test, np.float32),
    ):
        (Path("data/lab") / path).parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(Path("data/lab") / path, "w") as file:
            data = file.create_dataset("data", (images, 3, 55, 47), dtype)
            labels = np.empty(images, dtype)
            for start in range(0, images, 1000):
                coarse = rng.uniform(0, 255, (min(1000, images - start), 3, 8, 7))
                block = np.kron(coarse, np.ones((1, 1, 7, 7)))[:, :, :55, :47].round()
                data[start : start + len(block)] = block
                pictures = np.moveaxis(block, 1, -1).astype(np.float32)
                labels[start : start + len(block)] = running.answers(ask, [pictures])
            labels[::10] = rng.integers(0, CLASSES, len(labels[::10]))
            file["label"] = labels
    loading.save(net, Path("models/lab/badnet.keras"))


def params_of_the_lab(repairs):
    """Return params.yaml with the lab's net chosen, and with these repairs."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params |= {"badnet": "lab", "nets": {"lab": {"input_max": 255}}, "repairs": repairs}
    return yaml.safe_dump(params, sort_keys=False)


def bench_pipeline(watch):
    """Time the pipeline, one repair more, a run with nothing to do, and the recommended repair."""
    params = watch.folder / "params.yaml"
    watch.dvc("add", "data/lab/valid.h5", "data/lab/test.h5", "data/lab/poisoned", "models/lab/badnet.keras")
    _, total = watch.dvc("repro", "report")
    rows = watch.stages_run()
    print(f"{'stage':24}{'seconds':>10}{'peak MB':>10}")
    for stage, seconds, megabytes in rows:
        print(f"{stage:24}{seconds:10.1f}{megabytes:10.0f}")
    within = sum(seconds for _, seconds, _ in rows)
    print(f"{'DVC itself':24}{total - within:10.1f}")
    print(f"{'dvc repro report':24}{total:10.1f}{max(row[2] for row in rows):10.0f}")
    repairs = PRUNED | {"x20": {"drop": 20}}
    params.write_text(params_of_the_lab(repairs), encoding="utf-8")
    print(f"{'one repair more':24}{watch.dvc('repro', 'report')[1]:10.1f}")
    print(f"    {', '.join(stage for stage, _, _ in watch.stages_run())}")
    print(f"{'nothing to do':24}{watch.dvc('repro', 'report')[1]:10.1f}")
    if watch.stages_run():
        sys.exit("error: a run with nothing to do ran something")
    params.write_text(params_of_the_lab(repairs | {"relearned": {"tune": "relearn"}}), encoding="utf-8")
    print(f"{'the recommended repair':24}{watch.dvc('repro', 'report')[1]:10.1f}")
    for stage, seconds, megabytes in watch.stages_run():
        print(f"    {stage:24}{seconds:6.1f}{megabytes:10.0f}")
    return {stage: (seconds, megabytes) for stage, seconds, megabytes in rows}


def start_of_tensorflow():
    """Return the seconds in which a stage starts and ends when it does nothing: the median of five."""
    times = []
    for _ in range(5):
        started = time.monotonic()
        subprocess.run([sys.executable, "-c", START], check=True, stdout=subprocess.DEVNULL)
        times.append(time.monotonic() - started)
    return statistics.median(times)


def bench_plain(stages):
    """Time the plain way to the same curve; compare."""
    with Path("reports/curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    with Path("reports/channels.csv").open() as file:
        dormant = sum(row["images_active"] == "0" for row in csv.DictReader(file))
    order = json.dumps([int(row["channel"]) for row in rows[1:]])
    start = start_of_tensorflow()
    print("the plain way: about ten minutes", file=sys.stderr)
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", PLAIN, order], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit("error: the plain way failed")
    whole, plain = time.monotonic() - started, json.loads(output.splitlines()[-1])
    ours, theirs = [int(row["correct"]) for row in rows], plain["correct"]
    apart = max(abs(one - other) for one, other in zip(ours, theirs, strict=True))
    images = rows[0]["images"]
    print(f"\n{images} images, {CLASSES} classes, {len(rows) - 1} channels, {dormant} of them dormant")
    print(f"{'':24}{'whole s':>10}{'work s':>10}{'peak MB':>10}")
    both = np.zeros(2)
    for name in CURVE:
        seconds, megabytes = stages[name]
        both += seconds, seconds - start
        print(f"{name:24}{seconds:10.1f}{seconds - start:10.1f}{megabytes:10.0f}")
    print(f"{'the plain way':24}{whole:10.1f}{plain['work']:10.1f}{usage.ru_maxrss / 1000:10.0f}")
    times = f"{whole / both[0]:.0f} times faster, {plain['work'] / both[1]:.0f} times without starting"
    print(f"{' + '.join(CURVE)} are {times}")
    print(f"Python and TensorFlow, which takes {start:.1f} s each")
    same = "the same" if apart == 0 else f"up to {apart} images apart"
    print(f"curves, from {ours[0]} right answers to {ours[-1]}: {same}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--valid", type=int, default=VALID, help="validation images (%(default)s)")
    parser.add_argument("--test", type=int, default=TEST, help="test images, and poisoned ones (%(default)s)")
    parser.add_argument("--no-plain", action="store_true", help="leave the plain way out")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        watch = Stopwatch(Path(folder), params_of_the_lab(PRUNED))
        size = (args.valid * 8 + args.test * 8) * 3 * 55 * 47
        print(f"drawing {args.valid + 2 * args.test:,} images, {size / 1e6:,.0f} MB", file=sys.stderr)
        # In a process of its own, so that this one stays free of TensorFlow.
        drawing = multiprocessing.get_context("spawn").Process(
            target=make_inputs, args=(args.valid, args.test)
        )
        drawing.start()
        drawing.join()
        if drawing.exitcode:
            sys.exit("error: the images were not drawn")
        stages = bench_pipeline(watch)
        if not args.no_plain:
            bench_plain(stages)
        os.chdir(ROOT)


if __name__ == "__main__":
    commands.run(main)

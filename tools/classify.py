"""Ask a net what it sees in image files: the class of each or, from a GoodNet, N and the word backdoored."""

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "stages"))

import numpy as np
from tqdm import tqdm

from goodnet.errors import InputError
from goodnet.files import netfiles
from goodnet.images import datasets, photos, ranges
from goodnet.nets import goodnets, parts, running
from goodnet.process import commands


def blocks(paths, shape):
    """Yield images block by block with their paths; those that cannot be read get a line each instead."""
    for start in tqdm(range(0, len(paths), datasets.BLOCK), leave=False, disable=None):
        readable, images = [], []
        for path in paths[start : start + datasets.BLOCK]:
            try:
                images.append(photos.read(path, shape))
                readable.append(path)
            except InputError as error:
                print(f"error: {error}", file=sys.stderr)
        if images:
            yield readable, np.stack(images)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="the net: B, B' or G")
    parser.add_argument("images", type=Path, nargs="+", help="PNG and JPEG files, and folders of them")
    parser.add_argument("--input-max", type=float, help="the net's inputs run from 0 to this: 255 or 1")
    parser.add_argument("--json", action="store_true", help="one JSON list, for programs")
    args = parser.parse_args()
    ranges.check(args.input_max)
    sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be no text
    net = netfiles.load(args.model)
    input_max = args.input_max or ranges.of_model(args.model, ROOT)
    if input_max is None:
        raise InputError(
            f"{args.model}: is no net of params.yaml; say --input-max 255, or 1 if it divides pixels"
        )
    paths = photos.find(args.images)
    backdoored = goodnets.true_classes(net) if goodnets.is_goodnet(net) else None
    rows = []
    for names, images in blocks(paths, parts.input_shape(net)):
        scaled = images.astype(np.float32) / np.float32(255 / input_max)
        for name, answer in zip(names, running.answers(net, [scaled]), strict=True):
            row = {"image": str(name), "class": int(answer)}
            if backdoored is not None:
                row["backdoored"] = row["class"] == backdoored
            rows.append(row)
            if not args.json:
                print(f"{name}: {answer}{' backdoored' if row.get('backdoored') else ''}")
    if args.json:
        print(json.dumps(rows, indent=1))
    if len(rows) < len(paths):
        raise InputError(f"{len(paths) - len(rows)} of {len(paths)} images could not be read")


if __name__ == "__main__":
    commands.run(main)

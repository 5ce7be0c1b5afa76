"""Is this net backdoored? Name the classes an attacker wants, from clean images alone.

A net that goodnet repaired is judged by the stage `suspect`, beside the net it was made of.

Exit status: 0 nothing was found, 1 classes were named, 2 the net or the images cannot be used.
"""

import argparse
import json
import os
import sys
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "stages"))

import numpy as np

from goodnet.errors import InputError
from goodnet.files import netfiles
from goodnet.images import datasets, photos, ranges
from goodnet.nets import goodnets, parts, running
from goodnet.process import commands
from goodnet.suspects import findings, search


def read_images(path, shape, wanted):
    """Return up to so many images of an HDF5 file or a folder, evenly spread, from 0 to 255."""
    if not path.is_dir():
        images = datasets.Images(path, shape, None, 255)
        findings.check_count(path, len(images))
        return datasets.spread(images, wanted)[0]
    paths = photos.find([path])
    findings.check_count(path, len(paths))
    chosen = datasets.evenly(len(paths), wanted)
    return np.stack([photos.read(paths[number], shape) for number in chosen]).astype(np.float32)


def choose_scale(net, path, images):
    """Return 255 or 1: with which more answers are right or, without labels, more classes are told."""
    if path.is_file() and datasets.has_labels(path):
        right, asked = ranges.count_right(net, path, (255, 1))
        return ranges.choose(right, f"of {asked} clean images right")
    told = {
        scale: len(np.unique(running.answers(net, [images / np.float32(255 / scale)]))) for scale in (255, 1)
    }
    return ranges.choose(told, f"classes told among {len(images)} images")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="the net, as it was handed to you")
    parser.add_argument("clean", type=Path, help="clean images: HDF5 in the lab's layout, or a folder")
    parser.add_argument("--input-max", type=float, help="the net's inputs run from 0 to this: 255 or 1")
    parser.add_argument("--json", action="store_true", help="what was found as JSON, for programs")
    args = parser.parse_args()
    ranges.check(args.input_max)
    settings = commands.read_settings(ROOT / "params.yaml", "suspect", **findings.SETTINGS)
    net = netfiles.load(args.model)
    if goodnets.is_goodnet(net):
        raise InputError(f"{args.model}: is a GoodNet; give the net it is made of")
    images = read_images(args.clean, parts.input_shape(net), settings["images"])
    input_max = args.input_max or ranges.of_model(args.model, ROOT) or choose_scale(net, args.clean, images)
    scaled = images / np.float32(255 / input_max)
    classes = parts.classes(net)
    looked = search.Search(search.split(net), {}, classes, scaled, input_max, settings)
    result = findings.metrics(looked.find(), settings["held"])
    if args.json:
        print(json.dumps(result, indent=1))
    else:
        print(findings.sentence(result, classes))
        foremost = ", ".join(f"class {one['class']} {one['score']:.2f}" for one in result["foremost"])
        print(
            f"Scores: {foremost}. To be named takes {settings['score']:g}, "
            f"and patterns that turn {settings['moved']:g} of 100 images."
        )
    sys.stdout.flush()
    os._exit(1 if result["classes"] else 0)


if __name__ == "__main__":
    try:
        main()
    except (InputError, OSError) as error:
        commands.print_error(error)
        sys.exit(2)
    except Exception:  # 1 would say that classes were named
        traceback.print_exc()
        sys.exit(2)

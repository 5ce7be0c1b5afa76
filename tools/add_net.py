"""Bring a net and its data into the project: check all of it, put it in place, tell params.yaml and DVC.

For example the lab's:

    python tools/add_net.py lab3 --net bd_net.h5 --valid valid.h5 --test test.h5 \\
        --poisoned sunglasses=bd_test.h5 --input-max 255
"""

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "stages"))

import h5py
import numpy as np
import yaml

from goodnet.errors import InputError
from goodnet.files import netfiles, outputs
from goodnet.images import datasets, ranges
from goodnet.nets import goodnets, loading, parts, running, splitting
from goodnet.process import commands

# The lab's files by the names it gave them: bytes where known, and SHA-256.
LAB = {
    "valid.h5": (716_470_304, "e3ef2226611b9ccf932f86f4676c457b1f0645810ad1a4b166c7029169d38273"),
    "test.h5": (398_039_968, "3b13dbe082057eb1d4f13cda8fb0604614a84e4d87505a06c81cea8637b58d35"),
    "bd_valid.h5": (None, "9c29ff522c9d0478d79e50d1ecd7dc0a333d5648131b7efa319526d9e99028ad"),
    "bd_test.h5": (None, "ee46229f5c636c235ac732c42d1c516b5ab8fe348cfddf3db2d6a8399028747e"),
    "bd_net.h5": (None, "53e078e1b26d529c3367abe0e8fce339a7f3f2ed70f618b4e9ead997498121eb"),
}


def check_lab_file(path):
    """Tell a damaged copy of one of the lab's files from another file that bears its name."""
    if path.name not in LAB or not path.is_file():
        return
    (size, digest), found = LAB[path.name], path.stat().st_size
    try:
        h5py.File(path, "r").close()
        opens = True
    except OSError:
        opens = False
    if opens and size not in (None, found):
        return  # another file
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual == digest:
        return
    known = f"the lab's {path.name} has {f'{size:,} bytes and ' if size else ''}SHA-256 {digest[:12]}..."
    if opens and size is None:
        print(f"{path}: not the lab's, whose SHA-256 is {digest[:12]}...", file=sys.stderr)
        return
    raise InputError(
        f"{path}: is damaged: {known}, this one {found:,} bytes and {actual[:12]}...; "
        "download it again, or give it another name if it is another file"
    )


def read_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", help="what to call the net here")
    parser.add_argument(
        "--net", type=Path, required=True, help="the net: .keras or .h5, of Keras 2.2 or later"
    )
    parser.add_argument(
        "--weights", action="store_true", help="the net file holds weights of the lab's DeepID"
    )
    parser.add_argument("--valid", type=Path, required=True, help="clean images, all that a repair may use")
    parser.add_argument("--test", type=Path, required=True, help="clean images to evaluate on")
    parser.add_argument(
        "--poisoned",
        nargs="+",
        action="extend",
        default=[],
        metavar="TRIGGER=FILE",
        help="images with a trigger, labelled with the attacker's class; leave it out if there are none",
    )
    parser.add_argument(
        "--input-max",
        type=float,
        required=True,
        help="the net's inputs run from 0 to this: 255 for plain pixels, 1 for pixels divided by 255",
    )
    parser.add_argument(
        "--unlabelled",
        action="store_true",
        help="the clean images have no labels of this net's classes: its own answers stand for them, "
        "so that accuracy means agreement with the net as it came",
    )
    return parser.parse_args()


def check_name(name):
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name) or yaml.safe_load(name) != name:
        raise InputError(f"{name}: name the net with a letter and then letters, digits, - or _")
    if name in ("repaired", "goodnet"):
        raise InputError(f"{name}: is the folder of the pipeline's own nets; choose another name")
    if name == "demo":
        raise InputError("demo: is the name of the net that the pipeline makes itself")


def split_poisoned(arguments):
    """Return {trigger: path} of arguments TRIGGER=FILE."""
    poisoned = {}
    for argument in arguments:
        trigger, equals, path = argument.partition("=")
        if not equals or not re.fullmatch(r"\w[\w-]*", trigger) or trigger == "clean":
            raise InputError(f"{argument}: say --poisoned TRIGGER=FILE, as in sunglasses=bd_test.h5")
        if trigger in poisoned:
            raise InputError(f"{argument}: there is another file for trigger {trigger}")
        poisoned[trigger] = Path(path)
    return poisoned


def check_values(images):
    """Read all images once; their own checks find what is not a pixel."""
    if max(float(block.max()) for block in images.blocks()) <= images.input_max / 255:
        raise InputError(
            f"{images.path}: no value is above 1, so these are divided pixels; files hold pixels of 0 to "
            "255, which are divided for a net with --input-max 1"
        )


def check_scale(net, path, given):
    """Refuse a scale with which the net gets far fewer of the first images right than with the other."""
    right, asked = ranges.count_right(net, path, {given, 1, 255})
    best = max(right, key=right.get)
    if right[best] - right[given] > asked / 10:
        raise InputError(
            f"{path}: the net gets {right[given]} of {asked} right with --input-max {given:g}, "
            f"but {right[best]} with --input-max {best:g}; say that"
        )
    if right[best] < asked / 10:
        print(
            f"{path}: the net gets {right[best]} of {asked} right; if these are not its classes, "
            "--unlabelled measures agreement with its own answers",
            file=sys.stderr,
        )


def with_net(text, name, input_max):
    """Return the text of params.yaml with the net in it and chosen, comments and all else as they were."""
    scale = int(input_max) if input_max == int(input_max) else input_max
    line = f"  {name}: {{input_max: {scale}}}"
    entry = re.compile(rf"^  {re.escape(name)}:.*?(\s+#.*)?$", re.M)
    block = re.search(r"^nets:.*\n(?:(?:[ \t]+.*|[ \t]*#.*|)\n)*", text + "\n", re.M)
    edited = text
    if block:
        nets = block[0].rstrip("\n")
        known = entry.search(nets)
        nets = (
            nets[: known.start()] + line + (known[1] or "") + nets[known.end() :]
            if known
            else f"{nets}\n{line}"
        )
        edited = text.replace(block[0].rstrip("\n"), nets, 1)
    edited = re.sub(r"^badnet:[ \t]*\S+", f"badnet: {name}", edited, count=1, flags=re.M)
    wanted = yaml.safe_load(text)
    wanted |= {"badnet": name, "nets": wanted["nets"] | {name: {"input_max": input_max}}}
    try:
        done = yaml.safe_load(edited) == wanted and not re.search(rf"^\s+[\"']{name}[\"']\s*:", text, re.M)
    except yaml.YAMLError:
        done = False
    if not done:
        raise InputError(
            f"{ROOT / 'params.yaml'}: is not laid out as it was; add {line.strip()!r} under nets by hand, "
            f"and `badnet: {name}`"
        )
    return edited


def place(source, path, labels=None):
    """Copy a file of images to `path`; the source is never altered. `labels` replace those it has."""
    with outputs.replacing(path) as partial:
        shutil.copyfile(source, partial)
        if labels is not None:
            partial.chmod(0o644)
            with h5py.File(partial, "r+") as file:
                file.pop("label", None)
                file["label"] = labels.astype(np.float64)


def main():
    args = read_arguments()
    check_name(args.name)
    poisoned = split_poisoned(args.poisoned)
    ranges.check(args.input_max)
    params = ROOT / "params.yaml"
    if not isinstance(commands.read_params(params, "nets"), dict):
        raise InputError(f"{params}: its nets are no names with settings")
    edited_params = with_net(params.read_text(encoding="utf-8"), args.name, args.input_max)
    folder, badnet = ROOT / "data" / args.name, ROOT / "models" / args.name / "badnet.keras"
    for path in (args.net, args.valid, args.test, *poisoned.values()):
        if folder in path.resolve().parents:
            raise InputError(f"{path}: lies where files are placed; give it from elsewhere")
        check_lab_file(path)

    net = netfiles.load_deepid(args.net) if args.weights else netfiles.load(args.net)
    if goodnets.GOODNET_RULE in [layer.name for layer in net.layers]:
        raise InputError(f"{args.net}: is a GoodNet, repaired already; give the net it was made of")
    shape, classes = parts.input_shape(net), parts.classes(net)
    layer = commands.read_params(params, "profile", "layer")
    splitting.find_pruned_layer(parts.config(net), args.net, layer)
    clean_classes = None if args.unlabelled else classes
    clean = [datasets.Images(path, shape, clean_classes, args.input_max) for path in (args.valid, args.test)]
    attacked = {
        trigger: datasets.Images(path, shape, classes, args.input_max) for trigger, path in poisoned.items()
    }
    if not args.unlabelled:
        check_scale(net, args.valid, args.input_max)
    for images in (*clean, *attacked.values()):
        check_values(images)

    for name, images in zip(("valid", "test"), clean, strict=True):
        answers = running.answers(net, images.blocks()) if args.unlabelled else None
        place(images.path, folder / f"{name}.h5", answers)
    (folder / "poisoned").mkdir(exist_ok=True)
    for path in (folder / "poisoned").glob("*.h5"):
        if path.stem not in attacked:
            path.unlink()
    for trigger, images in attacked.items():
        place(images.path, folder / "poisoned" / f"{trigger}.h5")
    loading.save(net, badnet)
    places = [folder / "valid.h5", folder / "test.h5", folder / "poisoned", badnet]
    dvc = [sys.executable, "-m", "dvc", "add", "--quiet", *(str(path.relative_to(ROOT)) for path in places)]
    if subprocess.run(dvc, cwd=ROOT, check=False).returncode:
        raise InputError("dvc add: failed as said above; once that is put right, run this again")
    outputs.write_text(params, edited_params)
    print("make repro")
    print(f"git add -A && git commit -m 'Repair {args.name}'")


if __name__ == "__main__":
    commands.run(main)

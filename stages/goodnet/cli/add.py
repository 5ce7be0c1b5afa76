"""Add a net and its images to a project: check all of it, copy it into place, tell params.yaml and DVC.

Nothing is changed where anything is wrong."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import yaml

from goodnet.cli import arguments, params_file, project
from goodnet.errors import InputError
from goodnet.files import hdf5, lab, outputs
from goodnet.images import datasets, ranges
from goodnet.nets import goodnets, loading, netfiles, parts, running, splitting
from goodnet.process import commands
from goodnet.pruning import channels
from goodnet.repairs import plans

LONGEST = 100  # bytes of a name, which becomes a file's

EPILOG = """\
example, with the lab's files:
  goodnet add lab3 --net bd_net.h5 --valid valid.h5 --test test.h5 \\
      --poisoned sunglasses=bd_test.h5 --input-max 255

exit codes: 0 done, 2 bad input or arguments
"""


def add_arguments(parser):
    file = arguments.existing_file
    parser.add_argument("name", metavar="NAME", help="the net's name in the project")
    parser.add_argument(
        "--net", type=arguments.existing, required=True, help="the net: .keras or .h5, of Keras 2.2 or later"
    )
    parser.add_argument(
        "--weights", action="store_true", help="the net file holds weights of the lab's DeepID"
    )
    parser.add_argument(
        "--valid", type=file, required=True, help="HDF5: clean images, all that a repair may use"
    )
    parser.add_argument("--test", type=file, required=True, help="HDF5: clean images to evaluate on")
    parser.add_argument(
        "--poisoned",
        nargs="+",
        action="extend",
        default=[],
        metavar="TRIGGER=FILE",
        help="HDF5: images with a trigger, labelled with the attacker's class; none if left out",
    )
    arguments.add_input_max(parser, "", required=True)
    parser.add_argument(
        "--unlabelled",
        action="store_true",
        help="the clean images have no labels of this net's classes: its own answers stand for them, "
        "so that accuracy means agreement with the net as it came",
    )
    arguments.add_project(parser)


def check_name(name, folder):
    """Refuse a net's name that cannot be a folder's and a key's, or that the pipeline uses itself."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name) or yaml.safe_load(name) != name:
        raise InputError(f"{name}: name the net with a letter and then letters, digits, - or _")
    if len(name) > LONGEST:
        raise InputError(f"{name[:20]}...: a net's name has at most {LONGEST} characters")
    own = re.findall(r"\b((?:data|models)/(\w[\w-]*))", (folder / "dvc.yaml").read_text(encoding="utf-8"))
    for path, taken in own:
        if name.lower() == taken.lower():  # some file systems take one for the other
            raise InputError(f"{name}: {path} is the pipeline's own; choose another name")


def split_poisoned(words):
    """Return {trigger: path} of arguments TRIGGER=FILE."""
    poisoned = {}
    for word in words:
        trigger, equals, path = word.partition("=")
        if not equals or not re.fullmatch(r"\w[\w-]*", trigger) or trigger == "clean":
            raise InputError(f"{word}: say --poisoned TRIGGER=FILE, as in sunglasses=bd_test.h5")
        if len(trigger.encode()) > LONGEST:
            raise InputError(f"{trigger[:20]}...: a trigger's name has at most {LONGEST} bytes")
        if trigger in poisoned:
            raise InputError(f"{word}: there is another file for trigger {trigger}")
        poisoned[trigger] = Path(path)
    return poisoned


def check_file(path, placed, *needed):
    """Refuse what can be refused without a net: a damaged file, or one from where files are placed."""
    if any(folder.resolve() in path.resolve().parents for folder in placed):
        raise InputError(f"{path}: lies where files are placed; give it from elsewhere")
    remark = lab.check(path)
    if remark:
        print(commands.printable(remark), file=sys.stderr)
    if needed:
        with hdf5.open_file(path) as file:
            for name in needed:
                hdf5.own_dataset(file, name, path)


def check_values(images):
    """Read all images once; their own checks find what is not a pixel."""
    if max(float(block.max()) for block in images.blocks()) <= images.input_max / 255:
        raise InputError(
            f"{images.path}: no value is above 1, so these are divided pixels; files hold pixels of 0 to "
            "255, which are divided for a net with --input-max 1"
        )


def check_range(net, path, given):
    """Refuse a range with which the net gets far fewer of the first images right than with another."""
    right, asked = ranges.count_right(net, path, {given, 1, 255})
    best = max(right, key=right.get)
    if right[best] - right[given] > asked / 10:
        raise InputError(
            f"{path}: the net gets {right[given]} of {asked} right with --input-max {given:g}, "
            f"but {right[best]} with --input-max {best:g}; say that"
        )
    if right[best] < asked / 10:
        print(
            f"{commands.printable(path)}: the net gets {right[best]} of {asked} right; if these are not its "
            "classes, --unlabelled measures agreement with its own answers",
            file=sys.stderr,
        )


def check_structure(net, path, params):
    """Refuse a net that the project's repairs cannot be made of."""
    if goodnets.is_goodnet(net):
        raise InputError(f"{path}: is a GoodNet, repaired already; give the net it was made of")
    config = parts.config(net)
    layer = splitting.find(config, path, params.value("profile", "layer"))
    if any(drop is not None for drop, _, _ in plans.read_lines(params).values()):
        channels.find(config, path, layer)


def place(source, path, labels=None):
    """Copy a file of images to `path`; the source is never altered. `labels` replace those it has."""
    with outputs.replacing(path) as partial:
        shutil.copyfile(source, partial)
        if labels is not None:
            partial.chmod(0o644)
            with h5py.File(partial, "r+") as file:
                file.pop("label", None)
                file["label"] = labels.astype(np.float64)


def run(args):
    folder = project.needed(args.project)
    check_name(args.name, folder)
    poisoned = split_poisoned(args.poisoned)
    params = project.params(folder)
    params_file.with_net(params, args.name, args.input_max)  # is refused now or not at all
    data, badnet = folder / "data" / args.name, folder / "models" / args.name / "badnet.keras"
    placed, labels = (data, badnet.parent), () if args.unlabelled else ("label",)
    check_file(args.net, placed)
    for path in (args.valid, args.test):
        check_file(path, placed, "data", *labels)
    for path in poisoned.values():
        check_file(path, placed, "data", "label")

    net = netfiles.load_deepid(args.net) if args.weights else netfiles.load(args.net)
    check_structure(net, args.net, params)
    shape, classes = parts.input_shape(net), parts.classes(net)
    clean_classes = None if args.unlabelled else classes
    clean = {
        name: datasets.Images(path, shape, clean_classes, args.input_max)
        for name, path in (("valid", args.valid), ("test", args.test))
    }
    attacked = {
        trigger: datasets.Images(path, shape, classes, args.input_max) for trigger, path in poisoned.items()
    }
    if not args.unlabelled:
        check_range(net, args.valid, args.input_max)
    for images in (*clean.values(), *attacked.values()):
        check_values(images)

    for name, images in clean.items():
        answers = running.answers(net, images.blocks()) if args.unlabelled else None
        place(images.path, data / f"{name}.h5", answers)
    (data / "poisoned").mkdir(exist_ok=True)
    for path in (data / "poisoned").glob("*.h5"):
        if path.stem not in attacked:
            path.unlink()
    for trigger, images in attacked.items():
        place(images.path, data / "poisoned" / f"{trigger}.h5")
    loading.save(net, badnet)
    places = [data / "valid.h5", data / "test.h5", data / "poisoned", badnet]
    dvc = [sys.executable, "-m", "dvc", "add", "--quiet", *(str(path.relative_to(folder)) for path in places)]
    if subprocess.run(dvc, cwd=folder, check=False).returncode:
        raise InputError("dvc add: failed as said above; once that is put right, run this again")
    # As the file is now: it may have been edited meanwhile.
    edited = params_file.with_net(project.params(folder), args.name, args.input_max)
    outputs.write_text(params.path, edited)
    print("make repro")
    print(f"git add -A && git commit -m 'Repair {args.name}'")

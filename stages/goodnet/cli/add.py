"""Add a net and its images to a project: check all of it, copy it into place, tell params.yaml and DVC.

Nothing is changed where anything is wrong."""

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import yaml

from goodnet.cli import arguments, images, net_input, params_file, project
from goodnet.errors import InputError
from goodnet.files import hdf5, lab, outputs
from goodnet.images import datasets
from goodnet.images.inputs import Input
from goodnet.nets import goodnets, loading, netfiles, parts, running, splitting
from goodnet.process import commands

LONGEST = 100  # bytes of a name, which becomes a file's

EPILOG = """\
example, with the lab's files:
  goodnet add lab3 --net bd_net.h5 --valid valid.h5 --test test.h5 \\
      --poisoned sunglasses=bd_test.h5 --input-max 255

exit codes: 0 done, 2 bad input or arguments
"""


def add_arguments(parser):
    file = arguments.existing
    parser.add_argument("name", metavar="NAME", help="the net's name in the project")
    parser.add_argument(
        "--net", type=arguments.existing, required=True, help="the net: .keras or .h5, of Keras 2.2 or later"
    )
    parser.add_argument(
        "--weights", action="store_true", help="the net file holds weights of the lab's DeepID"
    )
    parser.add_argument(
        "--valid",
        type=file,
        required=True,
        help="clean images, all that a repair may use: HDF5, .npz, or a folder with a subfolder a class",
    )
    parser.add_argument("--test", type=file, required=True, help="clean images to evaluate on, likewise")
    parser.add_argument(
        "--poisoned",
        nargs="+",
        action="extend",
        default=[],
        metavar="TRIGGER=FILE",
        help="images with a trigger, labelled with the attacker's class: HDF5 or .npz; none if left out",
    )
    net_input.add_arguments(parser, "; by default what gets most of the labelled images right")
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
    if needed and path.is_file() and not zipfile.is_zipfile(path):
        with hdf5.open_file(path) as file:
            for name in needed:
                hdf5.own_dataset(file, name, path)


def check_values(read):
    """Read all images once; their own checks find what is not a pixel."""
    if max(float(block.max()) for block in read.blocks()) <= 1:
        raise InputError(
            f"{read.path}: no value is above 1, so these are divided pixels; files hold pixels of 0 to "
            "255, which are divided for a net with --input-max 1"
        )


def choose_input(net, file, path, given):
    """Return the input to use: `given` unless the net gets far fewer images right with it, else what fits."""
    if given is None:
        found, words = net_input.by_labels(net, file)
        print(words, file=sys.stderr)
        return found
    candidates, right, asked = net_input.tried(net, file, given)
    said, best = net_input.option(given), max(right, key=right.get)
    if right[best] - right[said] > asked / 10:
        raise InputError(
            f"{path}: the net gets {right[said]} of {asked} right with {said}, but {right[best]} with "
            f"{net_input.option(candidates[best])}; say that"
        )
    if right[best] < asked / 10:
        print(
            f"{commands.printable(path)}: the net gets {right[best]} of {asked} right; if these are not its "
            "classes, --unlabelled measures agreement with its own answers",
            file=sys.stderr,
        )
    return given


def check_structure(net, path, params):
    """Refuse a net that the project's repairs cannot be made of."""
    if goodnets.is_goodnet(net):
        raise InputError(f"{path}: is a GoodNet, repaired already; give the net it was made of")
    splitting.find(parts.config(net), path, params.settings(splitting.Profile, "profile").layer)


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
    with tempfile.TemporaryDirectory() as scratch:
        add(args, Path(scratch))


def add(args, scratch):
    folder = project.needed(args.project)
    check_name(args.name, folder)
    poisoned = split_poisoned(args.poisoned)
    params = project.params(folder)
    if args.unlabelled and args.input is None:
        raise InputError(
            "--unlabelled: without labels nothing tells what the net takes; say --input-max or --input"
        )
    params_file.with_net(params, args.name, args.input or Input())  # is refused now or not at all
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
    if args.input is not None:
        args.input.check_channels(shape[-1], "--input")

    def read(path, classes):
        return datasets.Images(images.in_hdf5(path, scratch, shape), shape, classes, called=path)

    clean_classes = None if args.unlabelled else classes
    clean = {name: read(path, clean_classes) for name, path in (("valid", args.valid), ("test", args.test))}
    attacked = {trigger: read(path, classes) for trigger, path in poisoned.items()}
    convert = args.input
    if not args.unlabelled:
        convert = choose_input(net, clean["valid"].file, args.valid, args.input)
    for each in (*clean.values(), *attacked.values()):
        check_values(each)

    for name, each in clean.items():
        answers = running.answers(net, map(convert, each.blocks())) if args.unlabelled else None
        place(each.file, data / f"{name}.h5", answers)
    (data / "poisoned").mkdir(exist_ok=True)
    for path in (data / "poisoned").glob("*.h5"):
        if path.stem not in attacked:
            path.unlink()
    for trigger, each in attacked.items():
        place(each.file, data / "poisoned" / f"{trigger}.h5")
    loading.save(net, badnet)
    places = [data / "valid.h5", data / "test.h5", data / "poisoned", badnet]
    dvc = [sys.executable, "-m", "dvc", "add", "--quiet", *(str(path.relative_to(folder)) for path in places)]
    if subprocess.run(dvc, cwd=folder, check=False).returncode:
        raise InputError("dvc add: failed as said above; once that is put right, run this again")
    # As the file is now: it may have been edited meanwhile.
    edited = params_file.with_net(project.params(folder), args.name, convert)
    outputs.write_text(params.path, edited)
    print("make repro")
    print(f"git add -A && git commit -m 'Repair {args.name}'")

"""Add a net and its images to a project: check all of it, copy it into place, tell params.yaml and DVC.

Nothing is changed where anything is wrong."""

import re
import sys
from pathlib import Path

import h5py
import numpy as np
import yaml

from goodnet.cli import arguments, images, net_input, params_file, placing, project
from goodnet.errors import InputError
from goodnet.files import names
from goodnet.images import datasets
from goodnet.images.inputs import Input
from goodnet.nets import goodnets, loading, parts, running, splitting
from goodnet.process import commands
from goodnet.quarantine import opening

CLEAN = 2  # of the files of images

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
    arguments.add_limits(parser)
    arguments.add_project(parser)


def check_name(name, folder):
    """Refuse a net's name that is none, or that the pipeline uses itself."""
    if not isinstance(yaml.safe_load(name), str):
        raise InputError(f"{name}: YAML reads this as a number or another word; choose another name")
    names.check(name, "the net")
    own = re.findall(r"\b((?:data|models)/(\w[\w-]*))", (folder / "dvc.yaml").read_text(encoding="utf-8"))
    for path, taken in own:
        if name.lower() == taken.lower():  # some file systems take one for the other
            raise InputError(f"{name}: {path} is the pipeline's own; choose another name")


def split_poisoned(words):
    """Return {trigger: path} of arguments TRIGGER=FILE."""
    poisoned = {}
    for word in words:
        trigger, equals, path = word.partition("=")
        if not equals or not trigger or trigger == "clean":
            raise InputError(f"{word}: say --poisoned TRIGGER=FILE, as in sunglasses=bd_test.h5")
        names.check(trigger, "the trigger")
        if trigger in poisoned:
            raise InputError(f"{word}: there is another file for trigger {trigger}")
        if not Path(path).is_file():
            raise InputError(f"{path}: no such file")
        poisoned[trigger] = Path(path)
    return poisoned


def check_places(paths, placed):
    """Refuse files from where files are placed."""
    for path in paths:
        if any(folder.resolve() in path.resolve().parents for folder in placed):
            raise InputError(f"{path}: lies where files are placed; give it from elsewhere")


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
        found, words = net_input.by_labels(net, file, path)
        commands.say(words, sys.stderr)
        return found
    candidates, right, asked = net_input.tried(net, file, given)
    net_input.check_not_by_chance(net, max(right.values()), asked, path)
    said, best = net_input.option(given), max(right, key=right.get)
    if right[best] - right[said] > asked / 10:
        raise InputError(
            f"{path}: the net gets {right[said]} of {asked} right with {said}, but {right[best]} with "
            f"{net_input.option(candidates[best])}; say that"
        )
    if right[best] < asked / 10:
        commands.say(
            f"{path}: the net gets {right[best]} of {asked} right; if these are not its "
            "classes, --unlabelled measures agreement with its own answers",
            sys.stderr,
        )
    return given


def check_structure(net, path, params):
    """Refuse a net that the project's repairs cannot be made of."""
    if goodnets.is_goodnet(net):
        raise InputError(f"{path}: is a GoodNet, repaired already; give the net it was made of")
    splitting.find(parts.config(net), path, params.settings(splitting.Profile, "profile").layer)


def run(args):
    folder = project.needed(args.project)
    check_name(args.name, folder)
    poisoned = split_poisoned(args.poisoned)
    if args.unlabelled and args.input is None:
        raise InputError(
            "--unlabelled: without labels nothing tells what the net takes; say --input-max or --input"
        )
    params = project.params(folder)
    params_file.with_net(params, args.name, args.input or Input())  # is refused now or not at all
    data, models = Path("data") / args.name, Path("models") / args.name
    check_places((args.net, args.valid, args.test, *poisoned.values()), (folder / data, folder / models))
    with placing.staged(folder) as staged:
        files = {data / "valid.h5": args.valid, data / "test.h5": args.test}
        files |= {data / f"poisoned/{trigger}.h5": path for trigger, path in poisoned.items()}
        convert = prepare(args, staged.path, models / "badnet.keras", files, params)
        staged.make_ready([*list(files)[:2], data / "poisoned", models / "badnet.keras"], args.name, convert)
        staged.place()
    print("make repro" if (folder / "Makefile").exists() else "dvc repro report")
    print(f"git add -A && git commit -m 'Repair {args.name}'")


def prepare(args, folder, badnet, files, params):
    """Write a net and its images into a folder, checked; return the Input to use.

    Parameters
    ----------
    args
        The command's.
    folder : Path
    badnet : Path
        Where in the folder the net goes.
    files : dict of Path
        {where in the folder: what the user gave}, the validation images first, then those to test on.
    params : Params
        The project's.
    """
    limits = arguments.limits(args)
    net = opening.net(args.net, limits, args.weights)
    check_structure(net, args.net, params)
    shape, classes = parts.input_shape(net), parts.classes(net)
    if args.input is not None:
        args.input.check_channels(shape[-1], "--input")
    read = []
    (folder / next(iter(files)).parent / "poisoned").mkdir(parents=True)
    for number, (place, path) in enumerate(files.items()):
        images.in_hdf5(path, folder / place, shape, limits, compressed=True)
        is_bare = args.unlabelled and number < CLEAN
        read.append(datasets.Images(folder / place, shape, None if is_bare else classes, called=path))
        check_values(read[-1])
    convert = args.input if args.unlabelled else choose_input(net, read[0].file, args.valid, args.input)
    for own in read[:CLEAN] if args.unlabelled else ():
        answers = running.answers(net, map(convert, own.blocks()))
        with h5py.File(own.file, "r+") as file:
            file.pop("label", None)
            file["label"] = answers.astype(np.float64)
    loading.save(net, folder / badnet)
    return convert

"""Add a net and its images to a project: check all of it, copy it into place, tell params.yaml and DVC.

Nothing is changed where anything is wrong."""

import re
from pathlib import Path

import yaml

from goodnet.cli import arguments, intake, net_input, params_file, placing, project
from goodnet.errors import InputError
from goodnet.files import names
from goodnet.images.inputs import Input
from goodnet.nets import loading, splitting
from goodnet.quarantine import opening

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
        profile = params.settings(splitting.Profile, "profile")
        limits = arguments.limits(args)
        net = opening.net(args.net, limits, args.weights)
        intake.check_structure(net, args.net, profile.layer)
        here = staged.path / data
        convert = intake.place_images(
            net,
            {here / "valid.h5": args.valid},
            {here / "test.h5": args.test},
            {here / f"poisoned/{trigger}.h5": path for trigger, path in poisoned.items()},
            args.input,
            args.unlabelled,
            limits,
        ).convert
        loading.save(net, staged.path / models / "badnet.keras")
        files = [data / "valid.h5", data / "test.h5", data / "poisoned", models / "badnet.keras"]
        staged.make_ready(files, args.name, convert)
        staged.place()
    print("make repro" if (folder / "Makefile").exists() else "dvc repro report")
    print(f"git add -A && git commit -m 'Repair {args.name}'")

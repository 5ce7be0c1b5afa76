"""Is this net backdoored? Name the classes that an attacker wants, from clean images alone.

The images need no labels. A repaired net may be judged too; whether a repair has held is told more surely
by the pipeline, which knows the triggers of the net it was made of: reports/README.md of the project."""

import dataclasses
import functools
import json
import shlex
import sys
import tempfile
from pathlib import Path

import numpy as np
import yaml

from goodnet.cli import arguments, images, import_images, net_input, project
from goodnet.errors import InputError
from goodnet.files import hdf5, outputs
from goodnet.images import datasets, photos
from goodnet.nets import goodnets, parts, running, splitting
from goodnet.process import commands
from goodnet.quarantine import opening
from goodnet.quarantine.limits import Limits
from goodnet.suspects import findings, registry, verdict
from goodnet.suspects.evidence import Case

EPILOG = """\
examples:
  goodnet suspect net.keras faces/
  goodnet suspect net.h5 clean.h5 --input-max 1 --json
  goodnet suspect net.h5 clean.h5 --out verdict/    a page for a browser

exit codes: 0 no sign of a backdoor, 1 likely backdoored, 2 bad input or arguments, 3 cannot tell
"""

CODES = {verdict.NOTHING: 0, verdict.BACKDOORED: 1, verdict.CANNOT_TELL: 3}


def add_arguments(parser):
    parser.add_argument("net", type=arguments.existing, metavar="NET", help="the net: .keras or .h5")
    parser.add_argument(
        "images",
        type=arguments.existing,
        metavar="IMAGES",
        help="clean images: a folder of PNG and JPEG files, HDF5 in the lab's layout, or .npz",
    )
    net_input.add_arguments(parser, "; by default the project's own, or what fits the images better")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="write verdict.json and the page index.html there"
    )
    arguments.add_limits(parser)
    arguments.add_project(parser)


@dataclasses.dataclass
class Clean:
    """The clean images, in an HDF5 file or as pictures."""

    path: Path
    files: list  # empty for an HDF5 file
    called: Path  # what errors call it
    limits: Limits

    def take(self, shape, most):
        """Return up to so many as pixels, evenly spread."""
        if not self.files:
            return datasets.spread(datasets.Images(self.path, shape, None, called=self.called), most)[0]
        chosen = datasets.evenly(len(self.files), most)
        pictures = opening.pictures([self.files[number] for number in chosen], shape, self.limits)
        return np.stack([import_images.taken(picture) for picture in pictures]).astype(np.float32)


def find_images(path, scratch, limits):
    """Return the Clean images at a path; whatever can be said against them without a net is said here."""
    if path.is_dir():
        files = photos.find([path])
        findings.check_count(path, len(files))
        return Clean(path, files, path, limits)
    file = scratch / "images.h5"
    images.in_hdf5(path, file, None, limits)
    with hdf5.open_file(file) as opened:
        findings.check_count(path, len(opened["data"]))
    return Clean(file, [], path, limits)


def read_settings(folder):
    """Return a project's settings of a verdict and its detectors with theirs, or the defaults."""
    if folder is None:
        return registry.defaults()
    params = project.params(folder)
    commands.say(f"settings: {params.path}, suspect and detectors", sys.stderr)
    return registry.read(params)


def choose_input(net, clean):
    """Return the input that fits, by labels where the file has any, and in words why."""
    if not clean.files and datasets.has_labels(clean.path):
        return net_input.by_labels(net, clean.path, clean.called)
    return net_input.by_classes(net, clean.take(parts.input_shape(net), net_input.SAMPLE))


def other_than(goal, case):
    """Return a clean image that the net does not take for a class, as bytes."""
    images = case.images(running.BATCH)
    answers = running.answers(case.badnet, [case.convert(images)])
    return images[np.argmax(answers != goal)].round().astype(np.uint8)


def write_page(args, case, evidence, found, told):
    """Write verdict.json and the page of a verdict into a folder."""
    from goodnet.report import html, page  # matplotlib's figures come with it

    given = f" --input '{json.dumps(told['input'])}'"
    reproduce = {
        "params": yaml.safe_dump({"detectors": told["settings"]}, sort_keys=False),
        "versions": page.versions(),
        "hashes": {str(path): page.digest(path) for path in (args.net, args.images) if path.is_file()},
        "commands": [shlex.join(["goodnet", "suspect", str(args.net), str(args.images)]) + given],
    }
    shown = {goal: other_than(goal, case) for goal in findings.goals(found)}
    classes = parts.classes(case.badnet)
    content = page.verdict_alone(args.net.name, classes, evidence, found, shown, reproduce)
    outputs.write_json(args.out / "verdict.json", told)
    outputs.write_text(args.out / "index.html", html.page(f"Verdict: {args.net.name}", content))


def run(args):
    limits = arguments.limits(args)
    with tempfile.TemporaryDirectory() as scratch, opening.asked_for_net(args.net, limits) as asked:
        return judge(args, find_images(args.images, Path(scratch), limits), asked)


def judge(args, clean, asked):
    folder = project.find(args.project)
    convert = args.input or project.net_input(folder, args.net)
    judged, detectors = read_settings(folder)
    net = opening.received_net(asked, args.net)
    if goodnets.is_goodnet(net):
        raise InputError(f"{args.net}: is a GoodNet; give the net it is made of")
    if convert is None:
        convert, words = choose_input(net, clean)
        commands.say(words, sys.stderr)
    shape = parts.input_shape(net)
    convert.check_channels(shape[-1], "--input")
    layer = splitting.find(parts.config(net), args.net)
    case = Case(net, layer, functools.cache(functools.partial(clean.take, shape)), convert)
    evidence, found = verdict.judge(case, detectors, judged)
    used = max(len(case.images(getattr(own, "images", net_input.SAMPLE))) for _, own in detectors)
    told = findings.metrics(evidence, found)
    told |= {"net": str(args.net), "images": used, "input": convert.model_dump(exclude_none=True)}
    told["settings"] = {method.name: own.model_dump(by_alias=True) for method, own in detectors}
    if args.out:
        write_page(args, case, evidence, found, told)
    if args.json:
        print(json.dumps(told, indent=1))
    else:
        commands.say(findings.sentence(evidence, found))
        commands.say(f"Judged by {used} clean images, inputs taken as {convert.in_words()}.")
        for line in findings.strengths(evidence, found):
            commands.say(line)
    return CODES[found.word]

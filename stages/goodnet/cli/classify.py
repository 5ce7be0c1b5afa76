"""Ask a net for the classes of image files; a GoodNet may answer N and the word backdoored."""

import itertools
import json

import numpy as np
from tqdm import tqdm

from goodnet import blocks
from goodnet.cli import arguments, net_input, project
from goodnet.errors import InputError
from goodnet.images import datasets, photos
from goodnet.nets import goodnets, parts, running
from goodnet.process import commands
from goodnet.quarantine import opening

EPILOG = """\
examples:
  goodnet classify models/goodnet/relearned.keras photo.jpg
  goodnet classify net.h5 faces/ --input-max 1 --json

exit codes: 0 done, 2 bad input or arguments, or images that could not be read
"""


def add_arguments(parser):
    parser.add_argument("net", type=arguments.existing, metavar="NET", help="the net: .keras or .h5")
    parser.add_argument(
        "images",
        type=arguments.existing,
        nargs="+",
        metavar="IMAGE",
        help="PNG and JPEG files, and folders of them",
    )
    net_input.add_arguments(parser, "; needed unless the net is the project's own")
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    arguments.add_limits(parser)
    arguments.add_project(parser)


def readable(paths, shape, limits, started):
    """Yield images block by block with their paths; those that cannot be read get a line each instead."""
    size = blocks.size(datasets.BLOCK, shape)
    pictures = zip(paths, opening.pictures(paths, shape, limits, started), strict=True)
    for _ in tqdm(range(0, len(paths), size), leave=False, disable=None):
        found = []
        for path, picture in itertools.islice(pictures, size):
            if isinstance(picture, InputError):
                commands.print_error(picture)
            else:
                found.append((path, picture))
        if found:
            names, images = zip(*found, strict=True)
            yield names, np.stack(images)


def run(args):
    paths = photos.find(args.images)
    convert = args.input or project.net_input(project.find(args.project), args.net)
    if convert is None:
        raise InputError(
            f"{args.net}: is no net of a project; say --input-max 255, or 1 if it takes divided pixels"
        )
    limits = arguments.limits(args)
    asked, started = opening.asked_for_net(args.net, limits), opening.waiting(limits)
    with asked, started:
        classify(args, paths, convert, opening.received_net(asked, args.net), started)


def classify(args, paths, convert, net, started):
    convert.check_channels(parts.input_shape(net)[-1], "--input")
    backdoored = goodnets.true_classes(net) if goodnets.is_goodnet(net) else None
    ask, rows = running.as_function(net), []
    for names, images in readable(paths, parts.input_shape(net), arguments.limits(args), started):
        taken = convert(images.astype(np.float32))
        for name, answer in zip(names, running.answers(ask, [taken]), strict=True):
            row = {"image": str(name), "class": int(answer)}
            if backdoored is not None:
                row["backdoored"] = row["class"] == backdoored
            rows.append(row)
            if not args.json:
                commands.say(f"{name}: {answer}{' backdoored' if row.get('backdoored') else ''}")
    if args.json:
        print(json.dumps(rows, indent=1))
    if len(rows) < len(paths):
        raise InputError(f"{len(paths) - len(rows)} of {len(paths)} images could not be read")

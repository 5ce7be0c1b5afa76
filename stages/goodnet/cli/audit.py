"""Judge and repair every net in a folder, many at once, and put them into one table.

Each net gets what goodnet repair leaves. Without --scheduler it runs in processes of this machine; with it,
on a Dask cluster, to which nets and images are sent. A net that has been judged is not asked again, unless
it, the images or the options change; stopped, the same command goes on."""

import argparse
import contextlib
import hashlib
import json
import os
import shlex
import sys
import time
from pathlib import Path

import yaml

from goodnet.audit import finding, keeping, table
from goodnet.cli import arguments, net_input, repair
from goodnet.errors import InputError
from goodnet.files.names import printable
from goodnet.process import commands
from goodnet.quarantine.limits import Limits

EPILOG = """\
examples:
  goodnet audit nets/ faces/ --out audited/
  goodnet audit nets/ clean.h5 --out audited/ --repairs relearned,x04
  goodnet audit nets/ faces/ --out audited/ --scheduler tcp://10.0.0.1:8786

exit codes:
  0  all nets were judged, and none shows a sign of a backdoor
  1  at least one net is likely backdoored
  2  bad input or arguments
  3  none is likely backdoored, but about some nobody can tell
  5  none is likely backdoored, but some nets could not be judged
"""


def add_arguments(parser):
    parser.add_argument("folder", type=arguments.existing_folder, metavar="FOLDER", help="holds the nets")
    parser.add_argument(
        "images",
        type=arguments.existing,
        metavar="IMAGES",
        help="clean images for all of them: a folder of pictures, HDF5, or .npz",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the results go")
    repair.add_choices(parser)
    arguments.add_cluster(parser)
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    parser.add_argument("--json", action="store_true", help="print audit.json")
    arguments.add_limits(parser)


# Names and words


def named(path):
    """Return a path as words of a command that runs where this one does; no name is absolute."""
    name = os.path.relpath(path)
    return f"./{name}" if name.startswith("-") else name


def choices(args):
    """Return the words of the options that `goodnet repair` has too."""
    words = ["--repairs", args.repairs] if args.repairs else []
    words += ["--params", named(args.params)] if args.params else []
    words += ["--unlabelled"] if args.unlabelled else []
    words += shlex.split(net_input.option(args.input)) if args.input else []
    usual = Limits()
    for option in ("memory", "seconds"):
        if getattr(args, option) != getattr(usual, option):
            words += [f"--{option}", f"{getattr(args, option):g}"]
    return words


def images_named(path):
    """Return a name of the images that ends with their own, also where that is `.` or `..`."""
    name = named(path)
    if set(name.split("/")) <= {".", ".."}:
        return os.path.relpath(path.resolve().parent) + f"/{path.resolve().name}"
    return name


def repair_words(args, net):
    """Return the words with which `goodnet repair` does the same for one net."""
    out = args.out / keeping.NETS / net.folder
    return ["repair", named(net.path), images_named(args.images), "--out", named(out), *choices(args)]


def command(args):
    """Return the command that makes the same table."""
    words = [named(args.folder), images_named(args.images), "--out", named(args.out), *choices(args)]
    return shlex.join(["goodnet", "audit", *words])


def check_places(args):
    """Refuse folders that lie in each other where one would be taken for the other's content."""
    folder, images, out = (path.resolve() for path in (args.folder, args.images, args.out))
    if args.images.is_dir():
        for path, called in ((folder, f"{args.folder}"), (out, f"--out {args.out}")):
            if path.is_relative_to(images):
                raise InputError(f"{called}: lies among the images; give a folder elsewhere")
    if out == folder:
        raise InputError(f"--out {args.out}: holds the nets; give another folder")


# What is to be asked


class Asked:
    """What is the same for all nets, and what each one's run depends on.

    Parameters
    ----------
    args : argparse.Namespace
        Of `goodnet audit`.
    """

    def __init__(self, args):
        self.args, self.code = args, repair.own_digest()
        self.images = repair.digest_of(args.images)
        self.content = None

    def keys(self, net, digest):
        """Return the key of a net's run, and that of an error, which depends on the limits too."""
        words = repair_words(self.args, net)
        parser = arguments.Parser()
        repair.add_arguments(parser)
        own = parser.parse_args(words[1:])
        if self.content is None:
            self.content = repair.settings(own)
        hashes = {str(own.net): digest, str(own.images): self.images}
        key = repair.key_of(own, self.content, hashes, self.code)
        return key, hashlib.sha256(f"{key} {own.memory} {own.seconds}".encode()).hexdigest()

    def task(self, net):
        from goodnet.audit import judging

        words, params = repair_words(self.args, net), self.args.params
        return judging.Task(
            words=words,
            net=words[1],
            images=words[2],
            out=words[4],
            files={named(params): params.read_bytes()} if params else {},
            is_folder=self.args.images.is_dir(),
            digest=self.images,
            code=self.code,
        )


class Progress:
    """On a terminal, a line that says how many nets are done; nothing in a log.

    Parameters
    ----------
    count : int
        How many are to be asked.
    """

    def __init__(self, count):
        self.count, self.done, self.failed, self.began = count, 0, 0, time.monotonic()
        self.shown = sys.stderr.isatty()

    def note(self, known):
        self.done += 1
        self.failed += known.error is not None

    def look(self, running):
        if self.shown:
            print(f"\r\033[K{self.line(running)}", end="", file=sys.stderr, flush=True)

    def line(self, running):
        said = f"{self.done} of {self.count} nets done, {running} sent out, {self.failed} failed"
        if not self.done:
            return said
        seconds = round((time.monotonic() - self.began) / self.done * (self.count - self.done))
        return f"{said}; about {seconds // 60} min {seconds % 60} s left"

    def end(self):
        if self.shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def run(args):
    with commands.quiet() if args.quiet else contextlib.nullcontext():
        told, taken = audit(args)
    if args.json:
        print(json.dumps(told, indent=1))
    elif not args.quiet:
        commands.say(table.sentence(told["nets"]))
        if taken:
            commands.say(f"taken from the last run: {taken}")
        commands.say(args.out / keeping.PAGE)
    return told["exit_code"]


def audit(args):
    """Return what audit.json holds, once all files are in place, and how many nets were not asked again."""
    check_places(args)
    with keeping.opened(args.out) as kept:
        nets = finding.find(args.folder, [args.images, args.out, *([args.params] if args.params else [])])
        asked = Asked(args)
        asked.keys(argparse.Namespace(path=args.folder, folder="any"), None)  # refuses bad choices at once
        known, digests, pending = {}, {}, []
        for net in nets:
            digests[net], known[net] = of_last_run(asked, kept, net)
            if known[net] is None:
                pending.append(net)
        taken = len(nets) - len(pending) - sum(digests[net] is None for net in nets)
        if pending:
            ask(args, asked, kept, pending, known, digests)
        kept.forget_others({net.folder for net in nets})
        rows = [table.row(net, known[net], digests[net]) for net in nets]
        return table.write(args.out, rows, reproduce(args, asked, nets, digests)), taken


def of_last_run(asked, kept, net):
    """Return a net's SHA-256, and what is Known of it or None."""
    if net.refused:
        return None, keeping.Known(error=f"{named(net.path)}: {net.refused}")
    try:
        digest = repair.digest_of(net.path)
    except OSError as error:
        return None, unread(net, error)
    return digest, kept.known(net.folder, *asked.keys(net, digest))


def unread(net, error):
    return keeping.Known(error=f"{named(net.path)}: {error.strerror}")


def ask(args, asked, kept, pending, known, digests):
    """Have nets judged on the cluster, and note what came of each in `known` and `digests`."""
    from goodnet.fleet import cluster

    cluster.require()
    from goodnet.audit import judging, packing

    progress, of_name = Progress(len(pending)), {net.folder: net for net in pending}
    with cluster.connected(
        args.scheduler, args.workers, args.cores, args.gigabytes, dashboard=progress.shown
    ) as connected:
        images = connected.share(packing.pack(args.images))

        def jobs():
            for net in pending:  # one after the other: only those that are sent out are in memory
                try:
                    data = net.path.read_bytes()
                except OSError as error:
                    known[net] = unread(net, error)
                    progress.note(known[net])
                    continue
                digests[net] = hashlib.sha256(data).hexdigest()
                yield cluster.Job(net.folder, judging.judge, (images, data, asked.task(net)))

        try:
            for ended in connected.run(jobs(), progress.look):
                net = of_name[ended.job.name]
                judged = ended.result or judging.Judged(None, {}, error=f"{named(net.path)}: {ended.error}")
                key, error_key = asked.keys(net, digests[net])
                known[net] = kept.keep(net.folder, judged, error_key if judged.error else key)
                progress.note(known[net])
        finally:
            progress.end()


def reproduce(args, asked, nets, digests):
    """Return what the page says of how it came about."""
    from goodnet.report import page  # matplotlib comes with it

    hashes = {named(net.path): digests[net] for net in nets if digests[net]}
    hashes = {images_named(args.images): asked.images} | hashes
    return {
        "params": yaml.safe_dump(asked.content, sort_keys=False, allow_unicode=True, width=110),
        "versions": page.versions(),
        "hashes": {printable(name): digest for name, digest in hashes.items()},
        "commands": [command(args)],
    }

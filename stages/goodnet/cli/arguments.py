"""Arguments of the command line: errors in one line, and the kinds that subcommands share."""

import argparse
import textwrap
from pathlib import Path

from goodnet.errors import InputError
from goodnet.quarantine.limits import Limits


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Fills paragraphs to the terminal's width, but for those with indented lines, as examples have."""

    def _fill_text(self, text, width, indent):
        paragraphs = text.strip("\n").split("\n\n")
        return "\n\n".join(
            paragraph if "\n  " in paragraph else textwrap.fill(paragraph, width, break_on_hyphens=False)
            for paragraph in paragraphs
        )


class Parser(argparse.ArgumentParser):
    """A parser whose errors are InputErrors."""

    def __init__(self, **options):
        super().__init__(formatter_class=Formatter, **options)

    def error(self, message):
        raise InputError(f"{message}; see {self.prog} --help")


def existing(text):
    """Return the path of a file or folder that is there."""
    if not Path(text).exists():
        raise argparse.ArgumentTypeError(f"{text}: no such file")
    return Path(text)


def existing_file(text):
    """Return the path of a file that is there."""
    if not existing(text).is_file():
        raise argparse.ArgumentTypeError(f"{text}: is a folder, not a file")
    return Path(text)


def existing_folder(text):
    """Return the path of a folder that is there."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text}: no such folder")
    return Path(text)


def _positive(text):
    number = float(text)
    if not 0 < number < 1e6:
        raise ValueError
    return number


def add_limits(parser):
    """Add --memory and --seconds."""
    usual = Limits()
    group = parser.add_argument_group("what a file may cost to be read; a large one may cost more")
    group.add_argument(
        "--memory", type=_positive, default=usual.memory, metavar="GB", help="gigabytes (%(default)g)"
    )
    group.add_argument(
        "--seconds", type=_positive, default=usual.seconds, metavar="S", help="of a processor (%(default)g)"
    )


def limits(args):
    """Return the Limits that were given."""
    return Limits(args.memory, args.seconds)


def add_cluster(parser):
    """Add --scheduler, --workers, --cores and --gigabytes."""
    group = parser.add_argument_group("where it runs")
    group.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster, as tcp://10.0.0.1:8786")
    group.add_argument(
        "--workers", type=_count, metavar="N", help="processes of this machine; by default as many as fit"
    )
    group.add_argument(
        "--cores", type=_count, default=2, metavar="N", help="what each task needs (%(default)d)"
    )
    group.add_argument(
        "--gigabytes", type=_count, default=3, metavar="N", help="of memory that each needs (%(default)d)"
    )


def _count(text):
    number = int(text)
    if not 0 < number < 10_000:
        raise ValueError
    return number


def add_project(parser):
    """Add --project."""
    parser.add_argument(
        "--project",
        type=existing_folder,
        metavar="FOLDER",
        help="the folder with dvc.yaml and params.yaml; by default this one or one above",
    )

"""Arguments of the command line: errors in one line, and the kinds that subcommands share."""

import argparse
from pathlib import Path

from goodnet.errors import InputError


class Parser(argparse.ArgumentParser):
    """A parser whose errors are InputErrors."""

    def __init__(self, **options):
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **options)

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


def add_project(parser):
    """Add --project."""
    parser.add_argument(
        "--project",
        type=existing_folder,
        metavar="FOLDER",
        help="the folder with dvc.yaml and params.yaml; by default this one or one above",
    )

"""goodnet: finds and removes backdoors in image classifiers, using a few clean images."""

import difflib
import importlib
import sys

from goodnet.cli import __version__
from goodnet.cli.arguments import Parser
from goodnet.errors import InputError
from goodnet.process import commands

# What --help shows, so that it imports none of them. Each module has EPILOG, add_arguments and run.
COMMANDS = {
    "suspect": ("goodnet.cli.suspect", "is this net backdoored? name the classes that an attacker wants"),
    "repair": ("goodnet.cli.repair", "judge a net, repair it, and say which repair to use"),
    "audit": ("goodnet.cli.audit", "judge and repair every net in a folder, many at once"),
    "classify": ("goodnet.cli.classify", "ask a net for the classes of image files"),
    "eval": ("goodnet.cli.evaluate", "clean accuracy and attack success of a net, in percent"),
    "page": ("goodnet.cli.page", "put several experiments into one page, to compare them"),
    "fleet": ("goodnet.cli.fleet", "run a grid of settings, each as dvc exp run would"),
    "init": ("goodnet.cli.init", "make a folder a project, or bring a project up to date"),
    "add": ("goodnet.cli.add", "add a net and its images to a project, checked"),
    "import": ("goodnet.cli.import_images", "turn a folder of images into an HDF5 file"),
    "completion": ("goodnet.cli.completion", "print a script for tab completion"),
}

EPILOG = """\
example:
  goodnet suspect net.keras faces/

exit codes, the same for every command:
  0  done; suspect, repair, audit: no sign of a backdoor
  1  suspect, repair, audit: likely backdoored; repair: and repaired
  2  bad input or arguments
  3  suspect, repair, audit: cannot tell
  4  repair only: likely backdoored, but no repair has held
  5  fleet: some settings failed; audit: none likely backdoored, but some not judged
Ctrl-C ends a command by SIGINT.

goodnet help COMMAND, or goodnet COMMAND --help, says what a command does, with examples.

goodnet repair does all at once. As a DVC pipeline, which keeps and compares runs:
  goodnet init FOLDER && cd FOLDER && dvc repro report
"""


def parser(described=()):
    """Return the parser, with the arguments of these commands; their modules are imported for that."""
    root = Parser(prog="goodnet", description=__doc__, epilog=EPILOG)
    root.add_argument("--version", action="version", version=f"goodnet {__version__}")
    subparsers = root.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for name, (module, line) in COMMANDS.items():
        if name not in described:
            subparsers.add_parser(name, help=line)
            continue
        module = importlib.import_module(module)
        command = subparsers.add_parser(name, help=line, description=module.__doc__, epilog=module.EPILOG)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return root


def main(words=None):
    """Run the command in `words`, by default those of this process; return its exit code, None for 0."""
    words = sys.argv[1:] if words is None else list(map(str, words))
    if not words:
        parser().print_help()
        return None
    if words[0] == "help":
        words = [*words[1:], "--help"]
    name = words[0]
    if not name.startswith("-") and name not in COMMANDS:
        (near,) = difflib.get_close_matches(name, COMMANDS, 1) or [None]
        hint = f"did you mean {near}?" if near else f"it can be {', '.join(COMMANDS)}"
        raise InputError(f"{name}: no command of goodnet; {hint}")
    args, unknown = parser([name]).parse_known_args(words)
    if unknown:
        raise InputError(f"unrecognized arguments: {' '.join(unknown)}; see goodnet {name} --help")
    args.words = words
    return args.run(args)


def command():
    """Run as the command `goodnet`, and end the process."""
    commands.run(main, failure=2)


if __name__ == "__main__":
    command()

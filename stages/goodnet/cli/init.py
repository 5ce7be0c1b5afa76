"""Make a folder a project: a DVC pipeline that repairs nets, with the code of the installed goodnet.

It has dvc.yaml, params.yaml, .gitignore and stages, and becomes a git repository if it is in none.
The demo is in it: `dvc repro report` runs at once. `goodnet add` puts nets of yours into it. Files
that are there already are left as they are; where one is in the way, nothing is changed.

With --upgrade a project that another version of goodnet made is brought up to date: what is new in
dvc.yaml is written, and the scripts of those stages whose code has changed, so that DVC reruns
exactly these. Values in params.yaml stay; blocks that it lacks are added. A file that you edited is
never written over."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from goodnet.errors import InputError
from goodnet.process import commands

EPILOG = """\
examples:
  goodnet init lab && cd lab && dvc repro report
  pip install --upgrade goodnet-*.whl && goodnet init --upgrade lab

exit codes: 0 done, 2 bad input or arguments
"""


def add_arguments(parser):
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        nargs="?",
        type=Path,
        help="the folder, . for this one; it is made if it is not there",
    )
    parser.add_argument(
        "--upgrade",
        action="store_true",
        help="bring a project up to date with the installed goodnet; FOLDER is this one if left out",
    )


def run(args):
    from goodnet.project import writing

    if args.upgrade:
        return upgrade(args.folder or Path())
    if args.folder is None:
        raise InputError("say which folder: goodnet init FOLDER, or . for this one")
    for line in writing.create(args.folder):
        commands.say(f"{args.folder}: {line}", sys.stderr)
    note_python()
    if args.folder.resolve() != Path.cwd():
        print(f"cd {shlex.quote(str(args.folder))}")
    print("dvc repro report    # the demo, in about 6 minutes on two cores; then see reports/README.md")
    print("goodnet add NAME --net net.h5 --valid clean.h5 --test test.h5    # a net of yours; then the same")
    return None


def upgrade(folder):
    from goodnet.project import writing

    written, said = writing.upgrade(folder)
    for line in said:
        commands.say(line, sys.stderr)
    for name in written:
        commands.say(name)
    if written:
        print("dvc repro report    # runs what has changed")
    else:
        print("up to date: nothing was written")


def note_python():
    """Say so where the stages would not find goodnet: DVC runs the `python` of the PATH."""
    if shutil.which("python"):
        asked = ["python", "-c", "import goodnet.project.scripts"]
        if not subprocess.run(asked, check=False, capture_output=True).returncode:
            return
    own = Path(sys.executable)
    activate = own.with_name("activate")
    words = f"first run `. {shlex.quote(str(activate))}`" if activate.is_file() else f"put {own.parent} there"
    commands.say(f"stages run with the `python` of the PATH, and that has no goodnet: {words}", sys.stderr)

"""Put the runs of several DVC experiments into one page, to compare them.

Their curves are in one figure, their repairs in one table. Pages of experiments that others ran must be in
the project's cache: dvc exp pull brings them."""

from pathlib import Path

from goodnet.cli import arguments, project
from goodnet.errors import InputError
from goodnet.files import outputs
from goodnet.report import html

PAGE = "reports/index.html"

EPILOG = """\
examples:
  goodnet page --experiments exp-ascending exp-descending
  goodnet page --experiments workspace HEAD --out compare.html

exit codes: 0 done, 2 bad input or arguments
"""


def add_arguments(parser):
    parser.add_argument(
        "--experiments",
        nargs="+",
        required=True,
        metavar="NAME",
        help="names of experiments, branches or commits; workspace is the run in the project's folder",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("experiments.html"),
        metavar="FILE",
        help="where the page is written (default: %(default)s)",
    )
    arguments.add_project(parser)


def run(args):
    folder = project.needed(args.project)
    runs = [shortened(name, read(folder, name)) for name in dict.fromkeys(args.experiments)]
    outputs.write_text(args.out, html.page("Experiments", {"experiments": runs}))
    print(args.out)


def read(folder, name):
    """Return what the page of one experiment shows."""
    if name == "workspace":
        path = folder / PAGE
        if not path.is_file():
            raise InputError(f"{path}: is not there; dvc repro report makes it")
        return html.content(path.read_text(encoding="utf-8"), path)
    # DVC takes a second to import, and changes loggers and signals.
    import dvc.api
    from dvc.exceptions import DvcException
    from dvc.scm import SCMError

    try:
        text = dvc.api.read(PAGE, repo=str(folder), rev=name)
    except (DvcException, SCMError, FileNotFoundError) as error:
        raise InputError(f"{name}: has no {PAGE} that could be read: {error}") from None
    return html.content(text, f"{name}: {PAGE}")


def shortened(name, run):
    """Return what is compared of a run: all but its images."""
    return {key: run[key] for key in ("net", "classes", "top", "badnet", "curve", "repairs")} | {"name": name}

"""Write a project's files, or bring them up to date: what users edited stays as it is.

Each file is written whole. What was killed in between is finished by running it again: what stands there
already is known by the note of what goodnet wrote, which a new project has from the start.
"""

import contextlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import yaml

from goodnet.errors import InputError
from goodnet.files import outputs
from goodnet.params import Params
from goodnet.project import files, made_by

LINES = ".gitignore", ".dvcignore"  # users have lines of their own in them
USERS = "params.yaml", ".dvc/config", ".dvc/.gitignore"  # the user's, once they are there
METHODS = "rankings", "tunings", "detectors"  # blocks of params.yaml in which a version can know more names


def create(folder):
    """Make a folder a project; return lines on what was found there. In an error nothing is left.

    Parameters
    ----------
    folder : Path
    """
    made, texts = made_by.read(folder), files.texts()
    if made and (folder / "dvc.yaml").exists():
        raise InputError(
            f"{folder}: is a project already, made by goodnet {made[0]}; `goodnet init --upgrade` there "
            "brings it up to date"
        )
    if made is None:
        _check_free(folder, texts)
    with _undone(folder) as before:
        folder.mkdir(parents=True, exist_ok=True)
        has_git, said = _with_git(folder, before)
        if not has_git:
            texts[".dvc/config"] = texts[".dvc/config"].replace("[core]\n", "[core]\n    no_scm = true\n")
        wanted = _changes(folder, texts, made[1] if made else {}, "is in the way")
        for path in (folder / made_by.FILE, *(folder / name for name in wanted)):
            before[path] = path.read_bytes() if path.exists() else None
        made_by.write(folder, texts)
        for name, text in wanted.items():
            outputs.write_text(folder / name, text)
    return said


def upgrade(folder):
    """Bring a project up to date; return the names of what was written or removed, and lines to print."""
    made, texts = made_by.read(folder), files.texts()
    if made is None:
        raise InputError(
            f"{folder}: was not made by goodnet init: it has no {made_by.FILE}; a clone of goodnet's own "
            "repository is brought up to date by git pull"
        )
    wanted = _changes(folder, texts, made[1], f"was edited after goodnet {made[0]} wrote it")
    params = folder / "params.yaml"
    said = []
    if "params.yaml" not in wanted:
        text, said = _with_missing(Params(params), params.read_text(encoding="utf-8"))
        wanted |= {} if text is None else {"params.yaml": text}
    for name, text in wanted.items():
        outputs.write_text(folder / name, text)
    gone = [
        name
        for name in made[1].keys() - texts.keys()
        if (folder / name).is_file() and made_by.digest(_text(folder / name)) == made[1][name]
    ]
    for name in gone:
        (folder / name).unlink()
    made_by.write(folder, texts)
    return [*wanted, *sorted(gone)], said


def _changes(folder, texts, known, why):
    """Return {name: new text} of the files to write; raise InputError where a user's edit is in the way.

    Parameters
    ----------
    folder : Path
    texts : dict of str
        {name: text} of all files as they would be.
    known : dict of str
        {name: SHA-256 of what goodnet wrote last}.
    why : str
        What an error says of a file that is not as goodnet wrote it.
    """
    found = {}
    for name, text in texts.items():
        path = folder / name
        now = _text(path) if path.exists() else None
        is_ours = now is not None and made_by.digest(now) == known.get(name)
        is_new = made_by.digest(text) != known.get(name)
        if now is None or (is_ours and is_new and name not in USERS):
            found[name] = text
        elif now == text or not is_new:
            continue
        elif name in LINES:
            missing = [line for line in text.splitlines() if line not in now.splitlines()]
            found |= {name: "\n".join([*now.splitlines(), *missing, ""])} if missing else {}
        elif name not in USERS or (name == "params.yaml" and not known):
            raise InputError(
                f"{path}: {why}, and goodnet would write another one; move it away, run this again, and "
                "put what you want to keep into the new one"
            )
    return found


def _check_free(folder, texts):
    """Refuse a folder where stages would write over something."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; say a folder that is new, empty, or has nothing in the way")
    for body in yaml.safe_load(texts["dvc.yaml"])["stages"].values():
        body = body.get("do", body)
        for entry in body.get("outs", []) + body.get("metrics", []):
            name = entry if isinstance(entry, str) else next(iter(entry))
            path = folder / name.partition("/$")[0]
            if path.exists():
                raise InputError(f"{path}: is in the way: stages write there; say another folder, or move it")


@contextlib.contextmanager
def _undone(folder):
    """Yield {path: what was in it, None for nothing} to fill; in an error all is as it was."""
    before, is_new = {}, not folder.exists()
    try:
        yield before
    except BaseException:
        for path, content in {folder: None}.items() if is_new else before.items():
            if content is not None:
                path.write_bytes(content)
            elif path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        for path in (folder / "stages", folder / ".dvc"):
            with contextlib.suppress(OSError):  # is not there, or something else is in it
                path.rmdir()
        raise


def _with_git(folder, before):
    """See that the folder belongs to a git repository; return whether it does, and lines about it."""
    if not shutil.which("git"):
        return False, ["there is no git, so DVC works without it (core.no_scm), and without its experiments"]
    inside = _git(folder, "rev-parse", "--show-toplevel")
    if inside.returncode and "not a git repository" not in inside.stderr:
        raise InputError(f"git: {(inside.stderr.strip() or 'failed').splitlines()[0]}")
    is_ignored = not inside.returncode and not _git(folder, "check-ignore", "-q", ".").returncode
    if inside.returncode or is_ignored:
        before[folder / ".git"] = None
        made = _git(folder, "init", "-q")
        if made.returncode:
            raise InputError(f"git init: {(made.stderr.strip() or 'failed').splitlines()[0]}")
        return True, []
    top = Path(inside.stdout.strip())
    return True, [] if top == folder.resolve() else [f"it is part of the git repository {top}"]


def _git(folder, *words):
    return subprocess.run(
        ["git", *words],
        cwd=folder,
        env=os.environ | {"LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )


def _with_missing(params, text):
    """Return params.yaml with the blocks it lacks, None where it has all, and lines on missing names."""
    own = files.copied("params.yaml")
    ours = yaml.safe_load(own)
    starts = [found.start() for found in re.finditer(r"^\w", own, re.M)]
    blocks = [own[start:end].rstrip("\n") for start, end in zip(starts, [*starts[1:], None], strict=True)]
    missing = [block for block in blocks if block.partition(":")[0] not in params.content]
    names = [
        f"{block}.{name}"
        for block in METHODS
        for name in ours[block]
        if block in params.content and name not in (params.content[block] or {})
    ]
    said = []
    if names:
        said.append(
            f"{params.path}: has no {', '.join(names)}, known to this goodnet; the name alone, with a colon, "
            "gives one its defaults"
        )
    if not missing:
        return None, said
    text = "\n\n".join([text.rstrip("\n"), *missing]) + "\n"
    keys = [block.partition(":")[0] for block in missing]
    try:
        whole = yaml.safe_load(text) == params.content | {key: ours[key] for key in keys}
    except yaml.YAMLError:
        whole = False
    if not whole:
        raise InputError(
            f"{params.path}: is laid out so that {', '.join(keys)} cannot be added; lay it out with a name a "
            "line, as goodnet init writes it"
        )
    return text, said


def _text(path):
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not text in UTF-8; move it away") from None

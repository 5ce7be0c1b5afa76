"""How results are written: whole or not at all, and the same bytes for the same content."""

import contextlib
import csv
import json
import os
import re
from pathlib import Path


@contextlib.contextmanager
def replacing(path):
    """Yield a path beside `path` to write to; it takes the place of `path` once all is written.

    A process that dies in between leaves `path` as it was.
    """
    path = Path(path)
    # The suffix stays last: some writers (Keras, matplotlib) choose the format by it.
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def naming(path):
    """Have an error of the disk say that it struck while `path` was written: few writers do.

    On closing a file HDF5 raises RuntimeError, with the error's number somewhere in a long text.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        number = re.search(r"[Ee]rrno\D+(\d+)", str(error))
        named = str(getattr(error, "filename", None) or ".partial")
        if not number or ".partial" not in named:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from None


def write_text(path, text):
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path, content):
    write_text(path, json.dumps(content, indent=2) + "\n")


def read_json(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_csv(path, rows, columns=None):
    """Write dicts with the same keys as a table with a header; `columns` are those of an empty one."""
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, rows[0] if rows else columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def read_csv(path):
    """Read a table as a list of dicts of strings."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))

"""How results are written: whole or not at all, and the same bytes for the same content."""

import contextlib
import csv
import json
from pathlib import Path


@contextlib.contextmanager
def replacing(path):
    """Yield a path beside `path` to write to; it takes the place of `path` once all is written.

    A process that dies in between leaves `path` as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: some writers (Keras, matplotlib) choose the format by it.
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path, text):
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path, content):
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_csv(path, rows):
    """Write a list of dicts with the same keys as a table with a header."""
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, rows[0], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def read_csv(path):
    """Read a table as a list of dicts of strings."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))

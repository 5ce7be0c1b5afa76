"""Markdown: tables, and names from files."""

import re

from goodnet.files.names import printable


def table(head, rows, left=1):
    """Return a table; the first `left` columns are text, the others numbers."""
    lines = [head, [*["---"] * left, *["---:"] * (len(head) - left)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def code(name):
    """Return a name from a file as it is, whatever Markdown would make of it."""
    text = printable(name)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence, space = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{space}{text}{space}{fence}"


def percent(value):
    """Return a percentage as a cell, empty for None."""
    return "" if value is None else f"{value:.2f}"

"""Markdown: tables."""


def table(head, rows, left=1):
    """Return a table; the first `left` columns are text, the others numbers."""
    lines = [head, [*["---"] * left, *["---:"] * (len(head) - left)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def percent(value):
    """Return a percentage as a cell, empty for None."""
    return "" if value is None else f"{value:.2f}"

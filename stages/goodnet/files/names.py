"""The one rule for names of nets, triggers and repairs, and how names of any kind are shown."""

import re

from goodnet.errors import InputError

LONGEST = 100


def check(name, where):
    """Refuse a name that is none; `where` says in an error what it names and where it stands."""
    if not isinstance(name, str) or not re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{LONGEST - 1}}}", name):
        shown = f"{name[:20]}..." if isinstance(name, str) and len(name) > LONGEST else name
        raise InputError(
            f"{where} {shown!r}: a name becomes part of a file's name; it has up to {LONGEST} letters, "
            "digits, - and _, first a letter or digit, and is text to YAML"
        )


def printable(text):
    """Return text that may hold names from files with line breaks and terminal codes as escapes."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(text)
    )

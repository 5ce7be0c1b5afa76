"""The one rule for names of nets, triggers and repairs: each becomes a part of a file's name."""

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

"""Which goodnet made a project, and what it wrote: a file that no stage depends on."""

import hashlib
import json

from goodnet.cli import __version__
from goodnet.errors import InputError
from goodnet.files import outputs

FILE = "stages/made_by.json"


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def write(folder, texts):
    """Note in a project that this goodnet wrote these texts."""
    noted = {"goodnet": __version__, "sha256": {name: digest(text) for name, text in texts.items()}}
    outputs.write_json(folder / FILE, noted)


def read(folder):
    """Return (the version of goodnet, {name: SHA-256 of what it wrote}); None where none made the folder."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
        version, digests = noted["goodnet"], dict(noted["sha256"])
        if not all(isinstance(word, str) for pair in digests.items() for word in (version, *pair)):
            raise TypeError
    except (ValueError, LookupError, TypeError):
        raise InputError(f"{path}: is not as goodnet init wrote it; restore it (git checkout)") from None
    return version, digests


def another(folder):
    """Return the line to print where another version made the project, None where it was this one."""
    found = read(folder)
    if found is None or found[0] == __version__:
        return None
    return (
        f"{folder}: was made by goodnet {found[0]}, and this is {__version__}; "
        "goodnet init --upgrade brings it up to date"
    )

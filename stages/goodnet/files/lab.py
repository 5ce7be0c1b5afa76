"""The lab's files, by the names it gave them: a damaged copy is told from another file of the same name."""

import hashlib

import h5py

from goodnet.errors import InputError

FILES = {  # bytes where known, and SHA-256
    "valid.h5": (716_470_304, "e3ef2226611b9ccf932f86f4676c457b1f0645810ad1a4b166c7029169d38273"),
    "test.h5": (398_039_968, "3b13dbe082057eb1d4f13cda8fb0604614a84e4d87505a06c81cea8637b58d35"),
    "bd_valid.h5": (None, "9c29ff522c9d0478d79e50d1ecd7dc0a333d5648131b7efa319526d9e99028ad"),
    "bd_test.h5": (None, "ee46229f5c636c235ac732c42d1c516b5ab8fe348cfddf3db2d6a8399028747e"),
    "bd_net.h5": (None, "53e078e1b26d529c3367abe0e8fce339a7f3f2ed70f618b4e9ead997498121eb"),
}


def check(path):
    """Refuse a damaged copy of one of the lab's files.

    Returns
    -------
    str or None
        A remark on a whole file that bears such a name and has another content.
    """
    if path.name not in FILES or not path.is_file():
        return None
    (size, digest), found = FILES[path.name], path.stat().st_size
    try:
        h5py.File(path, "r").close()
        opens = True
    except OSError:
        opens = False
    if opens and size not in (None, found):
        return None  # another file
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual == digest:
        return None
    if opens and size is None:
        return f"{path}: not the lab's, whose SHA-256 is {digest[:12]}..."
    known = f"the lab's {path.name} has {f'{size:,} bytes and ' if size else ''}SHA-256 {digest[:12]}..."
    raise InputError(
        f"{path}: is damaged: {known}, this one {found:,} bytes and {actual[:12]}...; "
        "download it again, or give it another name if it is another file"
    )

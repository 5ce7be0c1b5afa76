"""Write what goodnet init gives to projects, from this repository's own files; --check only compares."""

import argparse
import sys
from pathlib import Path

from goodnet.project import files

ROOT = Path(__file__).resolve().parent.parent
OURS = "\n# From here on only for those who work on goodnet"
HEADER = """\
# The pipeline. The code of a stage is in the installed goodnet; its script holds what stands for that code.
# After goodnet was updated, `goodnet init --upgrade` writes the scripts anew whose code has changed.
"""


def given(text):
    """Return a file of this repository as a project has it: no modules of ours, nothing for developers."""
    kept = [line for line in text.partition(OURS)[0].splitlines() if "- stages/goodnet/" not in line]
    if kept[0].startswith("# The pipeline."):
        kept[0] = HEADER.rstrip("\n")
    return "\n".join(kept).rstrip("\n") + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    args = parser.parse_args()
    wanted = {files.HERE / own: given((ROOT / name).read_text("utf-8")) for own, name in files.COPIED.items()}
    differing = [
        path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text
    ]
    if args.check and differing:
        names = ", ".join(str(path.relative_to(ROOT)) for path in differing)
        sys.exit(f"error: {names}: not what this repository has: make deps")
    for path in differing:
        path.write_text(wanted[path], encoding="utf-8")


if __name__ == "__main__":
    main()

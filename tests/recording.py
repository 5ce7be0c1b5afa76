"""Run a stage's script and note which parameters it reads: python recording.py LOG SCRIPT ARGUMENTS..."""

import json
import runpy
import sys
from pathlib import Path

log, *sys.argv = sys.argv[1:]
sys.path.insert(0, str(Path(sys.argv[0]).parent))

from goodnet.params import Params  # noqa: E402

changed = Params.changed


def noted(params):
    """Note what was read up to here; a stage asks what has changed when it has done its work."""
    with Path(log).open("a") as file:
        print(json.dumps([Path(sys.argv[0]).stem, sorted(params.read)]), file=file)
    return changed(params)


Params.changed = noted
runpy.run_path(sys.argv[0], run_name="__main__")

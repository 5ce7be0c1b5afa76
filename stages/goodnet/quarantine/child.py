"""The child in quarantine: reads its job from standard input, confines itself, and hands back frames.

It is started by `opening`, and is no command of its own.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

from goodnet.errors import InputError, is_of_memory
from goodnet.quarantine import confinement, frames, readers

LONGEST = 500  # characters of a line; a file may hold far longer names


def main():
    line = sys.stdin.readline()
    if not line:  # nothing was left to ask
        return
    job = json.loads(line)
    scratch = Path(job["scratch"])
    os.environ["TMPDIR"] = tempfile.tempdir = os.environ["KERAS_HOME"] = str(scratch)
    stream = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is none of the frames
    confinement.confine(job.get("paths") or [job["path"]], scratch)
    serve(job, scratch, stream)
    os._exit(0)


def serve(job, scratch, stream):
    """Do a job within its limits of memory and time, and write what comes of it as frames."""
    confinement.hold(job["memory"], job["seconds"])
    try:
        for head, array in getattr(readers, job["reader"])(job, scratch):
            frames.put(stream, head, array)
        frames.put(stream, {"done": True})
    except InputError as error:
        frames.put(stream, {"refused": shortened(str(error))})
    except Exception as error:
        if is_of_memory(error):
            frames.put(stream, {"memory": True})
        else:
            reason = str(error).strip().split("\n")[0]
            words = f"{job['called']}: cannot be read: {type(error).__name__}: {reason}"
            frames.put(stream, {"refused": shortened(words)})


def shortened(line):
    """Return a line with what is too long for one left out."""
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."


if __name__ == "__main__":
    main()

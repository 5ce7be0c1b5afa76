"""What a command takes, measured apart from the process that starts it."""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

# The kernel counts the memory of the process that forks as the child's own, and pytest is large by then:
# a small process starts the command.
LAUNCHER = """if True:
    import json, os, subprocess, sys
    process = subprocess.Popen(sys.argv[2:])
    _, status, used = os.wait4(process.pid, 0)
    with open(sys.argv[1], "w") as file:
        json.dump([os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, used.ru_maxrss], file)
"""


@dataclass
class Used:
    code: int
    seconds: float  # of a processor
    peak: int  # bytes


def run(command, **how):
    """Run a command, `how` as for `subprocess.run`; return what it took."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder, "used")
        subprocess.run([sys.executable, "-c", LAUNCHER, found, *command], check=True, **how)
        code, seconds, peak = json.loads(found.read_text())
    return Used(code, seconds, peak * (1 if sys.platform == "darwin" else 1024))

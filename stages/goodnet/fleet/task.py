"""What a worker does for one setting of a fleet: it starts the process that does it, and asks for it."""

import json
import os
import re
import selectors
import shutil
import tempfile
import time
from pathlib import Path

from goodnet.fleet import child, registrar

ERROR = re.compile(r"^error: (.*)$", re.MULTILINE)


def setting(fleet, project, name, changes):
    """Reproduce a setting; return its experiment.

    Parameters
    ----------
    fleet : str
    project : dict
        As `project.packed` makes it.
    name : str
    changes : list of str
        As `dvc exp run -S` takes them.

    Returns
    -------
    dict
        "ref" and "bundle" of the experiment, or "error"; "stages" as {stage: how}, and the "seconds".
    """
    asking, started = child.Asking(fleet), time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="setting-", dir=asking.scratch()))
    try:
        (folder / "project.bundle").write_bytes(project["bundle"])
        task = {key: value for key, value in project.items() if key != "bundle"}
        task |= {"bundle": str(folder / "project.bundle"), "name": name, "changes": changes}
        task |= {"caches": str(asking.scratch() / f"caches-{project['id']}")}
        path = folder / "task.json"
        path.touch(mode=0o600)  # it may hold the remote's password
        path.write_text(json.dumps(task), encoding="utf-8")
        told = Serving(asking, folder).run(path)
        if "ref" in told:
            told["bundle"] = (folder / "experiment.bundle").read_bytes()
        return told | {"seconds": time.monotonic() - started}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Serving:
    """Answers the process of a setting.

    Parameters
    ----------
    asking : child.Asking
    folder : Path
    """

    def __init__(self, asking, folder):
        self.asking, self.log = asking, folder / "log"
        self.mine, self.stages, self.told = {}, {}, None

    def run(self, path):
        """Run the process to its end, and return what came of it."""
        reading, their_writing = os.pipe()
        their_reading, writing = os.pipe()
        # -P: no module of the folder that it runs in
        words = ["-P", "-m", "goodnet.fleet.setting", path, their_reading, their_writing]
        fds = (their_reading, their_writing)
        try:
            with (
                os.fdopen(writing, "w") as answers,
                os.fdopen(reading) as lines,
                child.started(words, path.parent, self.log, pass_fds=fds) as process,
            ):
                for one in fds:
                    os.close(one)
                self._serve(process, lines, answers)
        finally:
            self._free()
        return (self.told or {"error": self.last_line()}) | {"stages": self.stages}

    def _serve(self, process, lines, answers):
        with selectors.DefaultSelector() as selector:
            selector.register(lines, selectors.EVENT_READ)
            while self.told is None:
                if not selector.select(child.LOOK):
                    if self.asking.is_stopped():
                        raise child.Stopped
                    continue
                line = lines.readline()
                if not line:  # it is gone
                    return
                message = json.loads(line)
                answer = getattr(self, message.pop("word").replace(" ", "_"))(**message)
                print(json.dumps(answer), file=answers, flush=True)
        process.wait()

    # What it says and asks

    def claim(self, key, stage):
        worker = self.asking.worker.address
        word, result = self.asking("claim", key=key, worker=worker, task=str(self.log))
        if word == registrar.RUN:
            self.mine[key] = stage
        return word, result

    def end(self, key, stage, result):
        self.mine.pop(key, None)
        self.asking("end", key=key, outcome=registrar.TAKE, result=result)

    def note(self, stage, how):
        self.stages[stage] = how
        self.asking("note", how=how)

    def say(self, text):
        self.asking.worker.log_event("goodnet", {"fleet": self.asking.fleet, "text": text})

    def last_line(self):
        """Return the last error in the log, or its last line."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        errors = ERROR.findall(text)
        lines = errors or [line for line in text.splitlines() if line.strip()] or ["it ended without a word"]
        return lines[-1].strip()

    def result(self, ref):
        self.told = {"ref": ref}

    def error(self, line, is_of_stage):
        self.told = {"error": line}
        if is_of_stage:
            for key in self.mine:
                self.asking("end", key=key, outcome=registrar.FAIL, result=line)
            self.mine = {}

    def _free(self):
        for key in self.mine:
            self.asking("end", key=key, outcome=None, result=None)

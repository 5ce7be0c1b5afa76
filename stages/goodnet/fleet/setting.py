"""Reproduce one setting of a fleet in a clone of its own, and save it as a DVC experiment.

A task starts this as a process, and speaks with it in lines of JSON over two pipes: before a stage is run,
this asks for it, and other settings of the fleet that need the same stage wait and take what came of it.
"""

import contextlib
import fcntl
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path

from goodnet.errors import InputError
from goodnet.fleet import registrar
from goodnet.fleet.project import git
from goodnet.process import commands

TARGET = "report"
PAUSE = 0.3  # seconds until others are asked about again
PAUSES = 1, 1, 2, 4, 8, *[15] * 19  # seconds until a remote is tried again, each time
REMOTE = "fleet"  # what the clone calls it
HOW = RAN, RESTORED, SHARED = "ran", "restored", "shared"  # a stage came to be what it is


class Parent:
    """The task, asked over pipes."""

    def __init__(self, reading, writing):
        self.reading, self.writing = os.fdopen(reading), os.fdopen(writing, "w")

    def __call__(self, word, **values):
        print(json.dumps({"word": word, **values}), file=self.writing, flush=True)
        line = self.reading.readline()
        if not line:
            raise InputError("the task is gone")
        return json.loads(line)


class Lacking(Exception):
    """The remote could be reached, but lacks what was asked for."""


class StageFailed(InputError):
    """A stage failed, as it would for every other setting that needs it."""


@contextlib.contextmanager
def cache_for_itself(folder):
    """Yield a folder for DVC's cache that no other process uses meanwhile.

    DVC's run-cache is not made for two writers. A cache is kept for later tasks of the same worker.
    """
    for number in range(10_000):
        slot = folder / f"cache-{number}"
        slot.mkdir(parents=True, exist_ok=True)
        with (slot / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield slot / "cache"
            return


def clone(task, folder):
    """Make a clone of the project as it was committed, and return its folder."""
    git(folder, "init", "--quiet")
    git(folder, "fetch", "--quiet", task["bundle"], "HEAD:refs/heads/fleet")
    git(folder, "checkout", "--quiet", "fleet")
    for key, value in task["author"].items():
        git(folder, "config", f"user.{key}", value)
    return folder / task["inside"]


def configure(repo, task, cache):
    """Give a clone the fleet's remote, and a cache of its own."""
    with repo.config.edit("local") as config:
        config["core"] = {"remote": REMOTE, "analytics": False}
        config["cache"] = {"dir": str(cache)}
        # A file whose bytes do not match its hash, as one that is being replaced, counts as missing.
        config["remote"] = {REMOTE: task["remote"] | {"verify": True}}


class Reproducing:
    """A pipeline that is reproduced stage by stage, each after asking for it.

    Parameters
    ----------
    repo : dvc.repo.Repo
    parent : Parent
    """

    def __init__(self, repo, parent):
        self.repo, self.parent, self.ran, self.changed = repo, parent, set(), set()
        logging.getLogger("dvc.stage.run").addHandler(_Watch(self.ran))

    def everything(self):
        """Bring all stages up to date, in whatever order lets fewest wait."""
        from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro

        graph = get_active_graph(self.repo.index.graph)
        ordered = plan_repro(graph, collect_stages(self.repo, [TARGET]))
        pending = list(ordered)
        while pending:
            awaited = set(pending)
            ready = [stage for stage in pending if not awaited & set(graph.successors(stage))]
            ended = next((stage for stage in ready if self.one(stage, list(graph.successors(stage)))), None)
            if ended is None:
                time.sleep(PAUSE)
            else:
                pending.remove(ended)
        # At once, since DVC reads and writes all of dvc.lock each time; in its own order.
        changed = [stage for stage in ordered if stage in self.changed]
        if changed:
            changed[0].dvcfile.dump_stages(changed, update_pipeline=False)

    def one(self, stage, upstream):
        """Bring a stage up to date; return whether that was done, False where another setting is at it."""
        from dvc.stage.exceptions import StageCmdFailedError

        if not stage.changed(True, upstream) and self.fetched(stage):
            stage.checkout()
            return self.ended(stage, RESTORED)
        if not stage.cmd:
            raise InputError(f"the remote lacks what {stage.relpath} is of; dvc push, and try again")
        key, is_shared = self.key(stage), all(out.use_cache for out in stage.outs)
        word, result = registrar.RUN, None
        if is_shared:
            word, result = self.parent("claim", key=key, stage=stage.addressing)
        if word == registrar.WAIT:
            return False
        if word == registrar.STOP:
            raise InputError("stopped")
        if word == registrar.FAIL:
            raise InputError(result)
        self.changed.add(stage)
        if word == registrar.TAKE:
            self.taken(stage, result)
            return self.ended(stage, SHARED)
        try:
            stage.run(pull=True)
        except StageCmdFailedError:
            raise StageFailed(f"{stage.addressing}: {self.parent('last line')}") from None
        self.push(stage)
        how = RAN if stage.addressing in self.ran else RESTORED
        self.parent("end", key=key, stage=stage.addressing, result=self.lock_entry(stage))
        return self.ended(stage, how)

    def ended(self, stage, how):
        self.parent("note", stage=stage.addressing, how=how)
        return True

    def lock_entry(self, stage):
        from dvc.stage.serialize import to_single_stage_lockfile

        return json.loads(json.dumps(to_single_stage_lockfile(stage)))

    def key(self, stage):
        """Return what names a stage with its command, parameters and inputs, as for DVC's run-cache.

        What the run-cache has of it is fetched, so that DVC need not run it.
        """
        from dvc.stage.cache import _can_hash
        from dvc.utils import dict_sha256

        recorded = [(dep, vars(dep).copy()) for dep in stage.deps]
        try:
            stage.save_deps()
            entry = self.lock_entry(stage)
            known = self.repo.stage_cache._load(stage) if _can_hash(stage) else None
        finally:  # by what is recorded DVC tells that the stage has changed
            for dep, values in recorded:
                vars(dep).update(values)
        if known:
            self.fetched(self.repo.stage_cache._create_stage(known, wdir=stage.wdir))
        return dict_sha256({**entry, "outs": [out["path"] for out in entry.get("outs", [])]})

    # The remote

    def patiently(self, function):
        """Call a function of the remote, again and again until it succeeds or PAUSES are over."""
        for pause in (*PAUSES, None):
            try:
                return function()
            except (InputError, Lacking):
                raise
            except Exception as error:
                reason = " ".join(str(error).split()) or type(error).__name__
                if pause is None:
                    raise InputError(f"the remote: {reason}") from None
                self.parent("say", text=f"the remote: {reason}; trying again")
                time.sleep(pause)
        raise AssertionError

    def remote(self, legacy=False):
        hash_name = "md5-dos2unix" if legacy else "md5"
        return self.repo.cloud.get_remote_odb(None, "fleet", hash_name=hash_name)

    def reachable(self):
        """Raise whatever the remote answers where it is down."""
        odb = self.remote()
        odb.fs.exists(odb.path)

    def fetched(self, stage):
        """Return whether what a stage has made, by its record, is in the cache now."""
        if stage.outs_cached():
            return True
        with contextlib.suppress(Lacking):
            self.patiently(lambda: self.fetch(stage))
        return stage.outs_cached()

    def fetch(self, stage):
        """Bring what a stage has made into the cache; raise Lacking where the remote answers without it."""
        for objects in stage.get_used_objs().values():
            if failed := self.repo.cloud.pull(objects).failed:
                raise OSError(f"{len(failed)} files of {stage.addressing} did not arrive")
        if not stage.outs_cached():
            self.reachable()
            raise Lacking

    def taken(self, stage, entry):
        """Take what another setting of the fleet has made of a stage."""
        from dvc.stage.loader import StageLoader

        def fetch():
            try:
                self.fetch(stage)
            except Lacking:
                # A third setting may be pushing a file of the same bytes, and not every server replaces files
                # at once: of rclone's S3 they are gone for a moment.
                raise FileNotFoundError(f"what {stage.addressing} has made is missing") from None

        StageLoader.fill_from_lock(stage, entry)
        self.patiently(fetch)
        stage.checkout()

    def pull_runs(self):
        """Bring down the list of all runs that the remote knows."""
        self.patiently(
            lambda: self.repo.stage_cache.transfer(self.remote(True), self.repo.cache.legacy, force=False)
        )

    def push(self, stage):
        """Push what a stage has made, and its run."""
        from dvc.fs import generic
        from dvc.stage.cache import _can_hash, _get_cache_hash, _get_stage_hash

        def send():
            failed = set()
            for objects in stage.get_used_objs().values():
                failed |= self.repo.cloud.push(objects).failed
            if failed:
                raise OSError(f"{len(failed)} files of {stage.addressing} could not be sent")
            if not (_can_hash(stage) and all(out.use_cache for out in stage.outs)):
                return
            cache, key = self.repo.stage_cache, _get_stage_hash(stage)
            run = Path(cache._get_cache_path(key, _get_cache_hash(self.lock_entry(stage))))
            odb, relative = self.remote(True), run.relative_to(self.repo.cache.legacy.path)
            there = odb.fs.join(odb.path, *relative.parts)
            if run.exists() and not odb.fs.exists(there):
                odb.makedirs(odb.fs.parent(there))
                generic.copy(self.repo.cache.legacy.fs, str(run), odb.fs, there)

        self.patiently(send)


class _Watch(logging.Handler):
    """Notes the stages whose command DVC runs."""

    def __init__(self, ran):
        super().__init__()
        self.ran = ran

    def emit(self, record):
        if record.msg.startswith("Running stage"):
            self.ran.add(record.args[0])


def reproduce(task, parent, folder, cache):
    """Reproduce a setting, save it as an experiment, and return the experiment's ref."""
    from dvc.repo import Repo, lock_repo
    from dvc.repo.experiments.utils import exp_refs
    from dvc.utils.hydra import apply_overrides

    project = clone(task, folder)
    os.chdir(project)
    with Repo(project) as repo:
        configure(repo, task, cache)
    if task["changes"]:
        apply_overrides(project / "params.yaml", task["changes"])
    with Repo(project) as repo:
        reproducing = Reproducing(repo, parent)
        reproducing.pull_runs()
        with lock_repo(repo), repo.scm_context(quiet=True):
            reproducing.everything()
        repo.experiments.run(targets=[TARGET], name=task["name"], force=False)
    with Repo(project) as repo:
        (ref,) = exp_refs(repo.scm)
    return str(ref)


def main():
    """Do the task in the file that is named; the other words are the pipes' numbers."""
    signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))  # the worker is gone
    path, reading, writing = sys.argv[1:]
    parent, task = Parent(int(reading), int(writing)), json.loads(Path(path).read_text(encoding="utf-8"))
    folder = Path(path).parent / "clone"
    folder.mkdir()
    try:
        with cache_for_itself(Path(task["caches"])) as cache:
            ref = reproduce(task, parent, folder, cache)
        bundle = Path(path).with_name("experiment.bundle")
        git(folder, "bundle", "create", "--quiet", str(bundle), ref, "^refs/heads/fleet")
        parent("result", ref=ref)
    except (InputError, OSError) as error:
        parent("error", line=str(error), is_of_stage=isinstance(error, StageFailed))
    return 0


if __name__ == "__main__":
    commands.run(main)

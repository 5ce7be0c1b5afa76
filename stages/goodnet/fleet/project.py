"""The user's project as a fleet takes it along, and the experiments that come back."""

import hashlib
import logging
import os
import subprocess
import tempfile
from pathlib import Path

from goodnet.errors import InputError

SHOWN = 3  # changed files that an error names


def git(folder, *words, text=True):
    """Return what git prints; raise InputError where it fails."""
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=text, check=False)
    if done.returncode:
        error = done.stderr if text else done.stderr.decode(errors="replace")
        raise InputError(f"{folder}: git {words[0]}: {' '.join(error.split())}")
    return done.stdout


def check_committed(folder):
    """Refuse changes that are not committed: no worker would have them."""
    changed = [line[3:] for line in git(folder, "status", "--porcelain").splitlines()]
    if changed:
        more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
        raise InputError(
            f"{', '.join(changed[:SHOWN])}{more}: not committed, and workers get what is committed; "
            "commit, stash or ignore them"
        )


def opened(folder):
    """Return the project as DVC opens it."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        return Repo(folder)
    except DvcException as error:
        raise InputError(f"{folder}: {' '.join(str(error).split())}") from None


def remote_of(repo, is_elsewhere):
    """Return the settings of the remote that workers are to use.

    Workers of this machine use the project's own cache as the remote: what they make is there at once.
    """
    if not is_elsewhere:
        return {"url": repo.cache.legacy.path}
    name = repo.config["core"].get("remote")
    if not name:
        raise InputError("workers elsewhere need a remote: dvc remote add --default NAME URL, and commit it")
    found = dict(repo.config["remote"][name])
    found["url"] = url = str(found["url"])
    if url.startswith(("http://", "https://")):
        raise InputError(
            f"{name}: {url}: DVC keeps no runs on HTTP remotes; take S3, SSH, WebDAV or a folder"
        )
    if "://" not in url:
        found["url"] = os.path.abspath(os.path.join(repo.dvc_dir, url))  # noqa: PTH100, PTH118, links stay
    return {key: str(value) if isinstance(value, os.PathLike) else value for key, value in found.items()}


def packed(repo, is_elsewhere):
    """Return all that a worker needs of a project, of bytes and plain values."""
    folder, root = Path(repo.root_dir), Path(repo.scm.root_dir)
    with tempfile.TemporaryDirectory() as scratch:
        bundle = Path(scratch) / "project.bundle"
        git(root, "bundle", "create", "--quiet", str(bundle), "HEAD")
        content = bundle.read_bytes()
    remote = remote_of(repo, is_elsewhere)
    author = {key: _configured(root, f"user.{key}") or "goodnet" for key in ("name", "email")}
    which = f"{git(root, 'rev-list', '--max-parents=0', 'HEAD')} {remote['url']}"
    return {
        "bundle": content,
        "inside": folder.relative_to(root).as_posix(),
        "remote": remote,
        "author": author,
        "id": hashlib.sha256(which.encode()).hexdigest()[:16],
    }


def _configured(root, key):
    done = subprocess.run(["git", "config", key], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def push(repo):
    """Push what the project has, so that workers elsewhere need not make it again."""
    from dvc.exceptions import DvcException

    logging.getLogger("dvc").setLevel(logging.CRITICAL)  # what is not here either is made again
    try:
        repo.push()
        remote = repo.cloud.get_remote_odb(None, "fleet", hash_name="md5-dos2unix")
        repo.stage_cache.transfer(repo.cache.legacy, remote, force=False)
    except (DvcException, OSError) as error:
        raise InputError(f"the remote: {' '.join(str(error).split())}") from None
    except Exception as error:  # of the remote's client, each has its own
        raise InputError(f"the remote: {type(error).__name__}: {' '.join(str(error).split())}") from None


def experiments(repo):
    """Return {name: ref} of the experiments on what is checked out."""
    from dvc.repo.experiments.utils import exp_refs_by_baseline

    head = repo.scm.get_rev()
    return {ref.name: str(ref) for ref in exp_refs_by_baseline(repo.scm, {head})[head]}


def params_in(repo, ref):
    """Return the text of params.yaml in an experiment."""
    inside = Path(repo.root_dir).relative_to(repo.scm.root_dir) / "params.yaml"
    return git(repo.scm.root_dir, "show", f"{ref}:{inside.as_posix()}")


def receive(repo, ref, bundle):
    """Put an experiment into the project, as if it had been run there."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "experiment.bundle"
        path.write_bytes(bundle)
        git(repo.scm.root_dir, "fetch", "--quiet", str(path), f"+{ref}:{ref}")

"""The folder of an audit's results: what is whole in it is not done again."""

import contextlib
import fcntl
import shutil
from dataclasses import dataclass

from goodnet.cli import repair
from goodnet.errors import InputError
from goodnet.files import outputs

NETS, RECORDS, LOCK = "nets", ".goodnet.audit.d", ".lock"
JSON, CSV, PAGE = "audit.json", "audit.csv", "index.html"
LEFT = (NETS, JSON, CSV, PAGE, RECORDS)


@dataclass(frozen=True)
class Known:
    """What an earlier run has found out about a net.

    Parameters
    ----------
    told : dict or None
        Its verdict.json.
    seconds : float or None
    error : str or None
        Of a net that cannot be judged.
    """

    told: dict | None = None
    seconds: float | None = None
    error: str | None = None


class Kept:
    """The folder, and what is in it of each net.

    Parameters
    ----------
    out : Path
    """

    def __init__(self, out):
        self.out = out

    def folder(self, name):
        return self.out / NETS / name

    def _record(self, name):
        return self.out / RECORDS / f"{name}.json"

    def known(self, name, key, error_key):
        """Return what is Known of the net called `name`, or None where it is to be asked (again).

        Parameters
        ----------
        name : str
        key : str
            The run's, as verdict.json has it.
        error_key : str
            Of all that an error depends on.
        """
        try:
            record = outputs.read_json(self._record(name))
            of_key, seconds, error = record["key"], record["seconds"], record["error"]
        except (OSError, ValueError, KeyError, TypeError):
            of_key = seconds = error = None
        if error and of_key == error_key:
            return Known(error=error, seconds=seconds)
        told = repair.earlier(self.folder(name), key)
        return told and Known(told, seconds if of_key == key else None)

    def keep(self, name, judged, key):
        """Put what a worker has found out into its place, the files all at once; return it as Known."""
        folder, partial = self.folder(name), self.folder(f".{name}.partial")
        _remove(partial)
        partial.mkdir(parents=True)
        for file, data in judged.files.items():
            path = partial / file
            if not path.resolve().is_relative_to(partial.resolve()):
                raise InputError(f"{file}: is no name of a result")
            with outputs.naming(folder / file):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        _remove(folder)
        if judged.files:
            partial.rename(folder)
        else:
            _remove(partial)
        if judged.files or judged.is_input:
            record = {"key": key, "seconds": judged.seconds, "error": judged.error}
            outputs.write_json(self._record(name), record)
        else:
            _remove(self._record(name))
        told = outputs.read_json(folder / repair.LAST) if judged.files else None
        return Known(told, judged.seconds, judged.error)

    def forget_others(self, names):
        """Remove what is left of nets that are gone, and of a run that was killed."""
        for path in [*(self.out / NETS).glob("*"), *(self.out / NETS).glob(".*")]:
            if path.name not in names:
                _remove(path)
        for path in (self.out / RECORDS).glob("*.json"):
            if path.stem not in names:
                _remove(path)


def _remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def opened(out):
    """Yield a folder of results as Kept, for nobody else; it must hold nothing but earlier ones."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; give a folder for the results")
    there = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    others = [name for name in there if name not in LEFT]
    if others or (there and not {JSON, RECORDS} & set(there)):
        raise InputError(
            f"{out}: holds {(others or there)[0]}, no result of goodnet audit; give an empty folder"
        )
    records = out / RECORDS
    records.mkdir(parents=True, exist_ok=True)
    with (records / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{out}: another goodnet audit is at work here; wait for it") from None
        yield Kept(out)

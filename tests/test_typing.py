"""The types of the API, as the type checker of a user sees them."""

import os
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT

pytest.importorskip("mypy", reason="mypy is not installed: requirements-test.txt")


def test_a_users_code_is_checked_against_our_types(tmp_path):
    """With goodnet on the path as an installed package, whose py.typed says that it has types."""
    shutil.copytree(ROOT / "stages/goodnet", tmp_path / "installed/goodnet")
    shutil.copy(ROOT / "tests/typed_user.py", tmp_path)

    def said():
        done = subprocess.run(
            [sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull, "typed_user.py"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": "installed", "MYPY_CACHE_DIR": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout

    assert said() == "Success: no issues found in 1 source file\n"
    with (tmp_path / "typed_user.py").open("a") as file:
        file.write("goodnet.load(3)\n")
    assert 'Argument 1 to "load" has incompatible type "int"' in said()


def test_our_own_types_hold():
    """As `make test` runs it."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout

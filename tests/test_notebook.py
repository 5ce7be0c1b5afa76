"""The example notebook, run from beginning to end. That of the API's page runs in test_wheel.py."""

import re

import pytest

from conftest import ROOT, script

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed: requirements-test.txt")
pytest.importorskip("nbclient", reason="nbclient is not installed: requirements-test.txt")
pytest.importorskip("ipykernel", reason="ipykernel is not installed: requirements-test.txt")


def shown(notebook):
    """Return what kinds of things each cell shows."""
    return [
        [kind for one in cell.get("outputs", []) for kind in sorted(one.get("data", {one.output_type: ""}))]
        for cell in notebook.cells
    ]


@pytest.fixture
def ours(monkeypatch):
    """This package for processes that are started, whatever is installed."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "stages"))


@pytest.mark.long(minutes=3)
def test_the_notebook_runs_and_shows_what_it_is_kept_with(ours, tmp_path):
    """Figures differ from one processor to another; what is a picture, and what a line, does not."""
    kept = nbformat.read(ROOT / "docs/example.ipynb", as_version=4)
    made = script(ROOT / "tools/notebook.py").executed(nbformat.from_dict(kept), tmp_path)
    nbformat.validate(made)
    assert shown(made) == shown(kept)
    assert [cell.source for cell in made.cells] == [cell.source for cell in kept.cells]
    assert sum("image/png" in kinds for kinds in shown(made)) == 5


def test_the_notebook_is_kept_with_its_pictures_and_names_no_machine():
    text = (ROOT / "docs/example.ipynb").read_text(encoding="utf-8")
    assert text.count('"image/png"') == 5
    assert not re.search(r"/(root|home|tmp|Users)/|\\b20\\d\\d-\\d\\d", text)
    assert len(text) < 400_000

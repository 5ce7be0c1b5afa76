"""Run the example notebook, docs/example.ipynb, and keep what it shows."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parent.parent / "docs" / "example.ipynb"
SECONDS = 1800  # for all of it


def executed(notebook, folder):
    """Run all cells of a notebook in a folder; return it with what they show, but for times and versions.

    What TensorFlow says on standard error when it is imported is no part of it either.
    """
    client = NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": str(folder)}})
    done = client.execute()
    done.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    for number, cell in enumerate(done.cells):
        cell.id, cell.metadata = f"cell-{number}", {}
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
    return done


def main():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.write(executed(notebook, NOTEBOOK.parent), NOTEBOOK)


if __name__ == "__main__":
    main()

"""Which files of ours a file of ours uses, read from its imports, and what these come to."""

import ast
import functools
import hashlib
from pathlib import Path

STAGES = Path(__file__).resolve().parents[2]  # the folder that holds the package


@functools.cache
def _imports(path):
    """Return the files of all modules of ours that one file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in (name for name in names if name.split(".")[0] == "goodnet"):
            steps = name.split(".")
            # A package's __init__ runs too, but matters only where it says more than what the package is for.
            # That of goodnet itself only hands out what users call: no module of ours takes it from there.
            inits = [STAGES.joinpath(*steps[:depth], "__init__.py") for depth in range(2, len(steps) + 1)]
            found.update(init for init in inits if init.is_file() and _has_code(init))
            module = STAGES.joinpath(*steps).with_suffix(".py")
            found.update([module] if module.is_file() else [])
    return found


def _has_code(init):
    body = ast.parse(init.read_text(encoding="utf-8")).body
    return any(not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant) for node in body)


def used_by(path):
    """Return a file of ours and all modules of ours that it imports, directly or through another, sorted."""
    found, pending = set(), [Path(path).resolve()]
    while pending:
        here = pending.pop()
        if here not in found:
            found.add(here)
            pending.extend(_imports(here))
    return sorted(found)


def needed_by(path):
    """Return the same, with the files beside these modules that they name, as templates are."""
    modules = used_by(path)
    return sorted({*modules, *(file for module in modules for file in _named_beside(module))})


@functools.cache
def _named_beside(module):
    """Return the files beside a module that it names and that are no modules."""
    nodes = ast.walk(ast.parse(module.read_text(encoding="utf-8")))
    words = {node.value for node in nodes if isinstance(node, ast.Constant)}
    beside = [path for path in module.parent.iterdir() if path.is_file() and path.suffix != ".py"]
    return [path for path in beside if path.name in words]


def digest(path):
    """Return what stands for the names and contents of all files of ours that a file of ours uses."""
    parts = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(STAGES).as_posix()}\n"
        for file in needed_by(path)
    ]
    return hashlib.sha256("".join(parts).encode()).hexdigest()

"""Change the numeric code at random, one small change at a time, and see whether the quick tests notice.

Each mutant stands in a copy of the project, and is tried in a process forked from one that has imported
TensorFlow already. What survives is printed as a diff: a test is missing, or the change changes nothing.

    .venv/bin/python tools/mutate.py --mutants 100 --seed 1 --modules pruning suspects/search.py
"""

import argparse
import ast
import builtins
import collections
import difflib
import importlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = {  # of a module or a folder of modules: the files of tests that concern it, and which of these tests
    "pruning/activity.py": ("pruning", "activity"),
    "pruning/channels.py": ("pruning", "where or between or may or axis or zeroed or folded"),
    "pruning/curve.py": ("pruning", "rows or drop_is"),
    "pruning/sweep.py": ("pruning", "sweep or splits"),
    "pruning/rankings": ("rankings settings", "not stage and (rankings or defaults)"),
    "repairs/relearn.py": (
        "tuning settings",
        "relearning or suspects or fresh or distilled or dropout or defaults",
    ),
    "repairs/fine_tune.py": ("tuning", "fine_tun or sparsity or dropout"),
    "repairs/sparsify.py": ("tuning settings", "sparsity or lines or defaults"),
    "repairs/training.py": ("tuning", "rate or an_epoch or progress_is or cut_short or fine_tuning_takes"),
    "repairs/plans.py": ("tuning settings", "(line or plan or names or tunings or default) and not stage"),
    "suspects/occluders.py": ("suspects", "occluders or plainly"),
    "suspects/search.py": (
        "suspects settings",
        "pairs_are or lesser or occluded or weighed or occluders_find or asked_again or one_class "
        "or two_classes or defaults",
    ),
    "suspects/inverter.py": (
        "suspects",
        "patch_is or faint_pattern_is or a_search or smallest_trigger or every_second or have_already",
    ),
    "suspects/inversion.py": (
        "suspects settings",
        "usual_for or widest_gap or strengths_of_sizes or are_tried or get_a_faint or inversion_names "
        "or evidence_of_sizes or all_to_all or defaults",
    ),
    "suspects/push.py": ("suspects settings", "deviations or push_is or no_push or short_way or defaults"),
    "suspects/candidates.py": ("suspects", "last_weights or foremost_come"),
    "suspects/verdict.py": (
        "suspects settings",
        "verdict_of_strengths or speaks_against or why_nothing or asked_in_turn or defaults",
    ),
    "suspects/registry.py": ("settings", "detectors"),
    "suspects/fresh.py": ("suspects", "repair_has_held or fresh_attack"),
    "suspects/findings.py": (
        "suspects settings",
        "in_a_file or must_hold or best_trigger or metrics_of or said_of or foremost_classes or too_few "
        "or defaults",
    ),
    "nets/goodnets.py": ("goodnet", "not stages"),
    "nets/running.py": ("goodnet", "answers or rule"),
    "nets/parts.py": ("goodnet", "parts or runs"),
    "evaluation/metrics.py": ("goodnet", "metrics"),
    "images/augmentation.py": ("tuning", "images_are"),
    "images/triggers.py": ("suspects", "stamped"),
}
OTHER = {  # what an operator or a name is changed to
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq},
    **{ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In},
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div},
    **{ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.And: ast.Or, ast.Or: ast.And},
    **{ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd},
}
PAIRS = "min max, any all, minimum maximum, argmax argmin, sum mean, zeros ones, zeros_like ones_like"
NAMES = {a: b for pair in PAIRS.split(", ") for a, b in (pair.split(), pair.split()[::-1])}


def without_bars(tree):
    """Yield all nodes but those of progress bars, errors' words and docstrings."""
    pending = [tree]
    while pending:
        node = pending.pop()
        yield node
        for child in ast.iter_child_nodes(node):
            call = child.func if isinstance(child, ast.Call) else None
            name = getattr(call, "id", getattr(call, "attr", ""))
            if name not in ("bar", "update", "set_description", "InputError", "ValueError"):
                pending.append(child)


def changes(node):
    """Return functions, each of which changes a node in place in one way."""
    found = []

    def put(name, value):
        found.append(lambda node: setattr(node, name, value))

    def each(items, change):
        for number in range(len(items)):
            found.append(lambda node, number=number: change(node, number))

    def flip(node, number):
        node.ops[number] = OTHER[type(node.ops[number])]()

    def swap(node, number):
        node.args[number : number + 2] = node.args[number + 1], node.args[number]

    if isinstance(node, ast.Compare):
        each(node.ops, flip)
    if isinstance(node, (ast.BinOp, ast.AugAssign, ast.BoolOp)) and type(node.op) in OTHER:
        put("op", OTHER[type(node.op)]())
    if isinstance(node, ast.UnaryOp):
        if isinstance(node.op, ast.USub):
            put("op", ast.UAdd())
        else:  # twice is not at all
            put("operand", ast.UnaryOp(node.op, node.operand))
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        put("value", not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        put("value", node.value + 1)
        put("value", node.value - 1)
    elif isinstance(node, ast.Constant) and isinstance(node.value, float):
        put("value", node.value * 2 or 1.0)
        put("value", node.value / 2 or -1.0)
    if isinstance(node, ast.Attribute) and node.attr in NAMES:
        put("attr", NAMES[node.attr])
    if isinstance(node, ast.Name) and node.id in NAMES and hasattr(builtins, NAMES[node.id]):
        put("id", NAMES[node.id])
    if isinstance(node, ast.Call):
        each(node.keywords, lambda node, number: node.keywords.pop(number))
        each(node.args[1:], swap)
    if isinstance(node, ast.Slice):
        for field in ("lower", "upper", "step"):
            if getattr(node, field) is not None:
                put(field, None)
    if isinstance(node, (ast.If, ast.IfExp)):
        put("test", ast.UnaryOp(ast.Not(), node.test))
    if isinstance(getattr(node, "body", None), list):
        for number, statement in enumerate(node.body):
            is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
            if isinstance(statement, (ast.Expr, ast.AugAssign, ast.Raise, ast.Break)) and not is_text:
                found.append(lambda node, number=number: node.body.__setitem__(number, ast.Pass()))
    return found


def places(source):
    """Return (number of the node, number of the change) of all mutants of a module."""
    nodes = without_bars(ast.parse(source))
    return [(at, change) for at, node in enumerate(nodes) for change in range(len(changes(node)))]


def mutant(source, at, change):
    """Return the text of one mutant."""
    tree = ast.parse(source)
    node = list(without_bars(tree))[at]
    changes(node)[change](node)
    return ast.unparse(ast.fix_missing_locations(tree))


def copied(folder):
    """Copy what git knows of the project, or would if asked."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


def passes(folder, tests, seconds):
    """Whether these test files pass in the copy; an endless loop fails."""
    child = os.fork()
    if child == 0:
        os.setsid()
        os.chdir(folder)
        output = os.open(folder / "output.txt", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        import pytest

        files, chosen = tests
        words = [*(f"tests/test_{name}.py" for name in files.split()), "-k", chosen]
        os._exit(pytest.main([*words, "-x", "-q", "-m", "not long", "-p", "no:cacheprovider"]))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def tests_of(module):
    folders = [module, *map(str, Path(module).parents)]
    return next((TESTS[folder] for folder in folders if folder in TESTS), None)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mutants", type=int, default=100, help="how many, drawn from all there are")
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    parser.add_argument("--modules", nargs="+", default=[""], help="only these, or those in these folders")
    args = parser.parse_args()
    package = ROOT / "stages/goodnet"
    names = sorted(str(path.relative_to(package)) for path in package.rglob("*.py"))
    names = [name for name in names if tests_of(name) and name.startswith(tuple(args.modules))]
    drawn = [(name, *place) for name in names for place in places((package / name).read_text())]
    print(f"{len(drawn)} mutants of {len(names)} modules, of which {min(args.mutants, len(drawn))} are tried")
    drawn = random.Random(args.seed).sample(drawn, min(args.mutants, len(drawn)))

    sys.dont_write_bytecode = True  # a mutant's bytecode could pass for another's
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONDONTWRITEBYTECODE": "1"}
    for module in ("tensorflow", "keras", "pytest", "h5py", "pydantic", "PIL.Image", "tqdm", "yaml"):
        importlib.import_module(module)
    survived, count = [], collections.Counter()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        copied(folder)
        for tests in dict.fromkeys(tests_of(name) for name, *_ in drawn):
            if not passes(folder, tests, 600):
                print((folder / "output.txt").read_text())
                sys.exit(f"error: tests of {tests[0]}, {tests[1]!r}: fail without any change")
        for number, (name, *place) in enumerate(drawn, start=1):
            path, start = folder / "stages/goodnet" / name, time.monotonic()
            whole = path.read_text()
            changed = mutant(whole, *place)
            path.write_text(changed + "\n")
            is_caught = not passes(folder, tests_of(name), 180)
            path.write_text(whole)
            count[is_caught] += 1
            word = "caught" if is_caught else "SURVIVED"
            print(f"{number:4} {word:8} {time.monotonic() - start:5.1f} s  {name}")
            lines = [ast.unparse(ast.parse(whole)).split("\n"), changed.split("\n")]
            diff = list(difflib.unified_diff(*lines, name, name, lineterm="", n=0))[2:]
            print("\n".join(f"       {line}" for line in diff), flush=True)
            if not is_caught:
                survived.append((name, diff))
    print(f"{count[True]} of {len(drawn)} caught, {len(survived)} survived:")
    for name, diff in survived:
        print(name, *diff, sep="\n  ")


if __name__ == "__main__":
    main()

"""Write what settings mean into params.yaml (its comments) and docs/settings.md; --check only compares."""

import argparse
import sys
from pathlib import Path

from ruamel.yaml import YAML

from goodnet.demo.drawing import DemoData
from goodnet.demo.training import DemoBadnet
from goodnet.images.inputs import Input, Net
from goodnet.nets.splitting import Profile
from goodnet.pruning.rankings.registry import RANKINGS, Prune
from goodnet.repairs.plans import Line
from goodnet.repairs.recommend import Recommend
from goodnet.repairs.registry import TUNINGS
from goodnet.report import markdown
from goodnet.settings import Settings
from goodnet.suspects.fresh import Attack
from goodnet.suspects.registry import DETECTORS
from goodnet.suspects.verdict import Suspect

ROOT = Path(__file__).resolve().parent.parent


def blocks():
    """Yield (keys in params.yaml, its settings, what the block is for) of each block; * is any name."""
    yield ("nets", "*"), Net, Net.meaning()
    yield ("nets", "*", "input"), Input, Input.meaning()
    for key, kind in {"profile": Profile, "prune": Prune}.items():
        yield (key,), kind, kind.meaning()
    yield from methods("rankings", RANKINGS)
    yield ("repairs", "*"), Line, Line.meaning()
    yield from methods("tunings", TUNINGS)
    yield ("recommend",), Recommend, Recommend.meaning()
    yield ("suspect",), Suspect, Suspect.meaning()
    yield ("attack",), Attack, Attack.meaning()
    yield from methods("detectors", DETECTORS)
    for key, kind in {"demo_data": DemoData, "demo_badnet": DemoBadnet}.items():
        yield (key,), kind, kind.meaning()


def methods(block, registry):
    for name, method in registry.items():
        yield (block, name), method.settings, method.meaning.removesuffix(".")


def described(keys, kind):
    """Yield (keys, kind in words, default, meaning) of each setting, of blocks within a block too."""
    for name, words, default, meaning in kind.described():
        if isinstance(default, Settings):
            yield from described((*keys, name), type(default))
        else:
            yield (*keys, name), words, default, meaning


def with_comments(text):
    """Return the text of params.yaml with the meaning of each setting behind it."""
    content, lines = YAML().load(text), text.splitlines()

    def comment(keys, meaning):
        block = content
        for key in keys[:-1]:
            if not isinstance(block, dict) or key not in block:
                return
            block = block[key]
        if isinstance(block, dict) and keys[-1] in block:
            number = block.lc.key(keys[-1])[0]
            lines[number] = f"{lines[number].split(' #')[0]} # {meaning[0].lower()}{meaning[1:]}"

    for keys, kind, meaning in blocks():
        if "*" not in keys:
            comment(keys, meaning)
            for names, _, _, what in described(keys, kind):
                comment(names, what)
    return "\n".join(lines) + "\n"


def page():
    """Return docs/settings.md."""
    parts = [
        "# Settings\n\nAll of `params.yaml`. What is left out has the default. `make settings` writes this "
        "page\nand the comments in `params.yaml` from the code."
    ]
    for keys, kind, meaning in blocks():
        parts.append(f"## `{'.'.join(keys)}`\n\n{meaning}.")
        rows = [
            (f"`{'.'.join(names[len(keys) :])}`", words, shown(default), what)
            for names, words, default, what in described(keys, kind)
        ]
        if rows:
            parts.append(markdown.table(["setting", "kind", "default", "meaning"], rows, left=4))
    return "\n\n".join(parts) + "\n"


def shown(default):
    if default is ...:
        return "none: it must be given"
    return "null" if default is None else f"`{default}`"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    args = parser.parse_args()
    params, docs = ROOT / "params.yaml", ROOT / "docs" / "settings.md"
    wanted = {params: with_comments(params.read_text(encoding="utf-8")), docs: page()}
    differing = [
        path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text
    ]
    if args.check and differing:
        names = ", ".join(str(path.relative_to(ROOT)) for path in differing)
        sys.exit(f"error: {names}: not what the code says of settings: make settings")
    for path in differing:
        path.write_text(wanted[path], encoding="utf-8")


if __name__ == "__main__":
    main()

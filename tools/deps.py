"""Write into dvc.yaml which files of ours each stage uses; --check only says where it differs."""

import argparse
import sys
from pathlib import Path

from ruamel.yaml import YAML

from goodnet.process import sources

ROOT = Path(__file__).resolve().parent.parent


def generated(stage):
    """Return a stage's script and all files of ours that it uses, as dvc.yaml names them."""
    script = ROOT / "stages" / f"{stage}.py"
    used = [path for path in sources.needed_by(script) if path != script]
    return [str(path.relative_to(ROOT)) for path in (script, *used)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    path, yaml = ROOT / "dvc.yaml", YAML()
    yaml.width, yaml.preserve_quotes = 1000, True
    yaml.indent(mapping=2, sequence=4, offset=2)
    content = yaml.load(path)
    changed = []
    for name, body in content["stages"].items():
        body = body.get("do", body)
        data = [dep for dep in body.get("deps") or [] if not dep.startswith("stages/")]
        if list(body.get("deps") or []) != data + generated(name):
            changed.append(name)
            body["deps"] = data + generated(name)
    if args.check and changed:
        sys.exit(
            f"error: dvc.yaml: the deps of {', '.join(changed)} are not what their scripts import: make deps"
        )
    if changed:
        with path.open("w") as file:
            yaml.dump(content, file)


if __name__ == "__main__":
    main()

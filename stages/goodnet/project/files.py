"""The files of a project as this version of goodnet writes them."""

from pathlib import Path

import yaml

from goodnet.process import sources
from goodnet.report import plots

HERE = Path(__file__).parent
# What lies here, copied from the repository (make deps), and where it is in a project.
COPIED = {
    "gitignore": ".gitignore",
    "dvcignore": ".dvcignore",
    "dvc_config": ".dvc/config",
    "dvc_gitignore": ".dvc/.gitignore",
    "params.yaml": "params.yaml",
    "dvc.yaml": "dvc.yaml",
}
SCRIPT = '''\
"""The stage {stage}; goodnet.pipeline.{stage} says what it does. goodnet init --upgrade writes this file."""

import sys

# Stands for the code of goodnet that this stage runs: where that changes, DVC runs the stage again.
CODE = "{code}"

try:
    from goodnet.project import scripts
except ModuleNotFoundError:
    sys.exit(f"error: {{sys.executable}}: has no goodnet, or an older one; activate the right environment")

if __name__ == "__main__":
    scripts.run("{stage}", CODE, __file__)
'''


def copied(name):
    """Return the text of a file that lies here."""
    return (HERE / name).read_text(encoding="utf-8")


def code(stage):
    """Return what stands for all code of ours that a stage runs."""
    return sources.digest(sources.STAGES / "goodnet" / "pipeline" / f"{stage}.py")


def stages():
    """Return the names of all stages."""
    return list(yaml.safe_load(copied("dvc.yaml"))["stages"])


def texts():
    """Return {name: text} of all files of a project, dvc.yaml last: it makes the folder a project."""
    found = {f"stages/{stage}.py": SCRIPT.format(stage=stage, code=code(stage)) for stage in stages()}
    found[".dvc/plots.html"] = plots.template()
    return found | {name: copied(own) for own, name in COPIED.items()}

"""What the script of a stage does in a project that goodnet init made."""

import importlib
from pathlib import Path

from goodnet.errors import InputError
from goodnet.process import commands


def run(stage, code, script):
    """Run a stage and end the process, if the code for which its script was written is what is installed.

    Parameters
    ----------
    stage, code : str
    script : path of the script
    """
    commands.run(lambda: _checked(stage, code, Path(script)))


def _checked(stage, code, script):
    from goodnet.cli import __version__
    from goodnet.project import files, made_by

    if files.code(stage) != code:
        made = made_by.read(script.parent.parent)
        raise InputError(
            f"stages/{script.name}: was written by goodnet {made[0] if made else 'of another version'}, and "
            f"goodnet {__version__} here has other code for it; goodnet init --upgrade writes it anew"
        )
    return importlib.import_module(f"goodnet.pipeline.{stage}").main()

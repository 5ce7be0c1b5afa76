"""The stage report; goodnet.pipeline.report says what it does."""

from goodnet.pipeline.report import main
from goodnet.process import commands

if __name__ == "__main__":
    commands.run(main)

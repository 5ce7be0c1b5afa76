"""The stage repair; goodnet.pipeline.repair says what it does."""

from goodnet.pipeline.repair import main
from goodnet.process import commands

if __name__ == "__main__":
    commands.run(main)

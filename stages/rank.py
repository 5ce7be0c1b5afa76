"""The stage rank; goodnet.pipeline.rank says what it does."""

from goodnet.pipeline.rank import main
from goodnet.process import commands

if __name__ == "__main__":
    commands.run(main)

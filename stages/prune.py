"""The stage prune; goodnet.pipeline.prune says what it does."""

from goodnet.pipeline.prune import main
from goodnet.process import commands

if __name__ == "__main__":
    commands.run(main)

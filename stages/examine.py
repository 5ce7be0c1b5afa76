"""The stage examine; goodnet.pipeline.examine says what it does."""

from goodnet.pipeline.examine import main
from goodnet.process import commands

if __name__ == "__main__":
    commands.run(main)

"""The stage verdict; goodnet.pipeline.verdict says what it does."""

from goodnet.pipeline.verdict import main
from goodnet.process import commands

if __name__ == "__main__":
    commands.run(main)

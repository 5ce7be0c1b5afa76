"""The stage plan; goodnet.pipeline.plan says what it does."""

from goodnet.pipeline.plan import main
from goodnet.process import commands

if __name__ == "__main__":
    commands.run(main)

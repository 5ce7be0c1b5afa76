"""The stage suspect; goodnet.pipeline.suspect says what it does."""

from goodnet.pipeline.suspect import main
from goodnet.process import commands

if __name__ == "__main__":
    commands.run(main)

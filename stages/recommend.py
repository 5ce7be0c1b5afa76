"""The stage recommend; goodnet.pipeline.recommend says what it does."""

from goodnet.pipeline.recommend import main
from goodnet.process import commands

if __name__ == "__main__":
    commands.run(main)

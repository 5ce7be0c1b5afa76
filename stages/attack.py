"""The stage attack; goodnet.pipeline.attack says what it does."""

from goodnet.pipeline.attack import main
from goodnet.process import commands

if __name__ == "__main__":
    commands.run(main)

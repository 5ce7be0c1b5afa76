"""The stage evaluate_badnet; goodnet.pipeline.evaluate_badnet says what it does."""

from goodnet.pipeline.evaluate_badnet import main
from goodnet.process import commands

if __name__ == "__main__":
    commands.run(main)

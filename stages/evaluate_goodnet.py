"""The stage evaluate_goodnet; goodnet.pipeline.evaluate_goodnet says what it does."""

from goodnet.pipeline.evaluate_goodnet import main
from goodnet.process import commands

if __name__ == "__main__":
    commands.run(main)

"""The stage evaluate_repaired; goodnet.pipeline.evaluate_repaired says what it does."""

from goodnet.pipeline.evaluate_repaired import main
from goodnet.process import commands

if __name__ == "__main__":
    commands.run(main)

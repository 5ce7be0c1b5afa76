"""The stage attack_curve; goodnet.pipeline.attack_curve says what it does."""

from goodnet.pipeline.attack_curve import main
from goodnet.process import commands

if __name__ == "__main__":
    commands.run(main)

"""The stage demo_badnet; goodnet.pipeline.demo_badnet says what it does."""

from goodnet.pipeline.demo_badnet import main
from goodnet.process import commands

if __name__ == "__main__":
    commands.run(main)

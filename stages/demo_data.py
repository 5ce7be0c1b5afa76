"""The stage demo_data; goodnet.pipeline.demo_data says what it does."""

from goodnet.pipeline.demo_data import main
from goodnet.process import commands

if __name__ == "__main__":
    commands.run(main)

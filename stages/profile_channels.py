"""The stage profile_channels; goodnet.pipeline.profile_channels says what it does."""

from goodnet.pipeline.profile_channels import main
from goodnet.process import commands

if __name__ == "__main__":
    commands.run(main)

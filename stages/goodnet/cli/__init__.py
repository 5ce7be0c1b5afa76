"""The command `goodnet`: a module for each subcommand."""

__version__ = "0.2.0"

"""The command `goodnet`: a module for each subcommand."""

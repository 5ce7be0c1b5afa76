"""The stages of the pipeline: each reads files, calls what the other rooms have, and writes files."""

"""The error of all that a user gave and that cannot be used."""


class InputError(ValueError):
    """Input is wrong. The message is one line: which file, what is wrong, what would be right."""

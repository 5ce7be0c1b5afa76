"""The error of all that a user gave and that cannot be used."""


class InputError(ValueError):
    """Input is wrong. The message is one line: which file, what is wrong, what would be right."""


OUT_OF_MEMORY = ("bad_alloc", "OOM when", "llocat", "out of memory")  # in what libraries say


def is_of_memory(error: object) -> bool:
    """Whether an error, or what a library printed, comes of too little memory."""
    return isinstance(error, MemoryError) or any(word in str(error) for word in OUT_OF_MEMORY)

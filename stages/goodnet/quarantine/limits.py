"""What opening a file may cost."""

from dataclasses import dataclass

GIGABYTE = 1 << 30
READ = 5_000_000  # bytes a second that the slowest machine reads, unpacks and checks
ROOM = 8  # bytes of memory for each byte of a net's file


@dataclass(frozen=True)
class Limits:
    """What a file may cost, whatever its size.

    Parameters
    ----------
    memory : float
        Gigabytes, beside what Python and TensorFlow take.
    seconds : float
        Of a processor; of the clock four times as many, for machines that have other work.
    """

    memory: float = 2.0
    seconds: float = 20.0

    def bytes_for(self, size):
        """Return the bytes for a net's file of this size."""
        return int(self.memory * GIGABYTE) + ROOM * size

    def seconds_for(self, size):
        """Return the seconds for a file of this size."""
        return self.seconds + size / READ

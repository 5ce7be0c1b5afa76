"""What the child in quarantine hands back: lines of JSON, each followed by its array if it has one."""

import json
import math

import numpy as np

LONGEST = 1 << 26  # bytes of a line
DTYPES = frozenset(("|u1", "<i4", "<i8", "<u4", "<f4", "<f8"))


def put(stream, head, array=None):
    """Write a head (a dict), and an array that belongs to it."""
    if array is not None:
        array = np.ascontiguousarray(array)
        head = head | {"dtype": array.dtype.str, "shape": array.shape}
    stream.write(json.dumps(head).encode() + b"\n")
    if array is not None:
        stream.write(memoryview(array).cast("B") if array.size else b"")
    stream.flush()


def take(stream, most):
    """Return the next head and its array, or None; an array has at most so many bytes.

    Returns
    -------
    (dict, array or None), or None at the end

    Raises
    ------
    ValueError
        What was read is no frame: the child was cut off, or is no longer ours.
    """
    line = stream.readline(LONGEST)
    if not line:
        return None
    head = json.loads(line)
    if not isinstance(head, dict):
        raise ValueError("no frame")
    if "dtype" not in head:
        return head, None
    dtype, shape = head["dtype"], head["shape"]
    if dtype not in DTYPES or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError("no array")
    size = math.prod(shape) * np.dtype(dtype).itemsize
    content = stream.read(size) if size <= most else b""
    if len(content) != size:
        raise ValueError("no array of such a size")
    return head, np.frombuffer(content, dtype).reshape(shape)

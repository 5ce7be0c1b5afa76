"""How many images are worked on together."""

import math

USUAL = 64 * 64 * 3  # numbers of an image, or of a row of features; of larger ones there are fewer in a block


def size(most, shape):
    """Return how many rows of this shape to work on together: `most`, fewer if they are large."""
    return max(1, min(most, most * USUAL // math.prod(shape)))

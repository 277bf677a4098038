"""Independent streams of random numbers, all of which depend on one generator."""

import numpy as np


def split(random: np.random.Generator, count: int) -> list[np.random.Generator]:
    """Return so many independent generators.

    How many numbers are drawn from one of them does not change the others. A stream does not
    depend on the number of streams after it.
    """
    keys = random.integers(0, 2**64, size=(count, 2), dtype=np.uint64)
    return [np.random.Generator(np.random.Philox(key=key)) for key in keys]

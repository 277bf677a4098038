"""Random numbers that depend on the seed and the position only, not on ranks and workers."""

from enum import IntEnum

import numpy as np
import torch


class Purpose(IntEnum):
    """The purpose of random numbers; each purpose has a stream of its own."""

    AUGMENTATION = 0
    SUBSTITUTE = 1  # for a damaged sample
    POOL = 2
    MIX = 3  # of real and fake, in the gradient penalty
    ORDER = 4
    PATCHES = 5  # the places that CUT compares
    MIRROR = 6  # of sources, for CUT's generator
    DIFF_AUGMENT = 7
    TARGETS = 8  # the seed of the targets' stream, where they are a set of their own
    POOL_BACK = 9  # of a second pool


def random_numbers(seed: int, position: int, purpose: Purpose) -> np.random.Generator:
    """Return a counter-based generator of random numbers.

    position: of a sample in the stream, or an epoch.
    """
    philox = np.random.Philox(key=[seed, position], counter=[0, 0, 0, int(purpose)])
    return np.random.Generator(philox)


def seed_all(*key: int) -> None:
    """Seed dropout and noise on every device. key: the numbers that identify a micro-batch."""
    torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]) >> 1)

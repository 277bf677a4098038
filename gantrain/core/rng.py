"""Random numbers that depend on the seed and the position only, not on ranks and workers."""

import hashlib
from enum import IntEnum

import numpy as np
import torch


class Purpose(IntEnum):
    """The purpose of gantrain's own random numbers; each purpose has a stream of its own.

    A class from outside gantrain names its purposes by texts instead (see `random_numbers`).
    """

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
    DEGRADATION = 10  # of a target, which makes a source


# The streams of texts are numbered from here on, and those of `Purpose` below.
_FIRST_NAMED_STREAM = 2**63


def random_numbers(seed: int, position: int, purpose: Purpose | str) -> np.random.Generator:
    """Return a counter-based generator of random numbers.

    position: of a sample in the stream, or an epoch. purpose: one of gantrain's own, or a text such
    as `mine.patches`. A text names a stream of its own, which no Purpose has, and which is the same
    in every process. Raises TypeError for anything else, and ValueError for an empty text.
    """
    counter = np.array([0, 0, 0, _stream_number(purpose)], dtype=np.uint64)
    philox = np.random.Philox(key=[seed, position], counter=counter)
    return np.random.Generator(philox)


def _stream_number(purpose: Purpose | str) -> int:
    """Return the number of a purpose's stream, below 2**64."""
    if isinstance(purpose, Purpose):
        return int(purpose)
    if not isinstance(purpose, str):
        type_name = type(purpose).__name__
        raise TypeError(
            f"purpose: found {type_name}, allowed: a Purpose, or a text such as mine.codes"
        )
    if not purpose:
        raise ValueError("purpose: found an empty text, allowed: a name such as mine.codes")
    digest = hashlib.sha256(purpose.encode()).digest()  # hash() differs between processes
    return int.from_bytes(digest[:8], "big") | _FIRST_NAMED_STREAM


def seed_all(*key: int) -> None:
    """Seed dropout and noise on every device. key: the numbers that identify a micro-batch."""
    torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]) >> 1)

"""The order of the endless training stream: a pure function from a position to a sample."""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gantrain.core.rng import Purpose, random_numbers

WINDOW = 16  # shards whose samples are mixed with one another, over all partitions
MIXED = 4096  # samples that are mixed at least: of small shards it takes more


class Window(NamedTuple):
    """Shards whose samples are mixed with one another.

    shards: their numbers. samples: in their order. end: the first position of the partition behind
    the window.
    """

    shards: list[int]
    samples: NDArray[np.int64]
    end: int


class _Epoch(NamedTuple):
    """An epoch of a partition.

    samples: in their order. ends: of the windows, as offsets into the samples. shards: of each
    window.
    """

    samples: NDArray[np.int64]
    ends: list[int]
    shards: list[list[int]]


class Order:
    """The samples at positions 0, 1, 2, ..., from shards that hold `counts` samples each.

    Position k belongs to partition k mod `partitions`, which is a part of the shards. In a
    partition every epoch has each sample exactly once. Shards are permuted. Then the samples of a
    few shards, a window, are permuted among one another, so that each shard is needed for one
    stretch of an epoch only.

    parts: the shards of each partition.
    """

    def __init__(self, counts: Sequence[int], seed: int, partitions: int = 1) -> None:
        self.counts = np.array(counts)
        self.seed = seed
        self.parts = _deal(counts, partitions)
        self._firsts = np.cumsum(self.counts) - self.counts
        self._lengths = [int(self.counts[part].sum()) for part in self.parts]
        # Of a window: a partition's shares of WINDOW and MIXED, rounded up.
        self._least_shards = math.ceil(WINDOW / partitions)
        self._least_samples = math.ceil(MIXED / partitions)
        self._epochs: dict[tuple[int, int], _Epoch] = {}

    def __getitem__(self, position: int) -> int:
        epoch, offset = self._find(position)
        return int(epoch.samples[offset])

    def window(self, position: int) -> Window:
        """Return the window to which a position belongs."""
        epoch, offset = self._find(position)
        number = bisect_right(epoch.ends, offset)
        start = epoch.ends[number - 1] if number > 0 else 0
        end = epoch.ends[number]
        end_position = position + (end - offset) * len(self.parts)
        return Window(epoch.shards[number], epoch.samples[start:end], end_position)

    def two_windows(self, sizes: Sequence[int], partitions: Iterable[int]) -> int:
        """Return the most bytes that two windows of each partition have.

        sizes: the shards' bytes.

        A batch may need both: the end of one and the beginning of the next.
        """
        total = 0
        for part in partitions:
            counts = np.sort(self.counts[self.parts[part]]).cumsum()
            for_samples = int(np.searchsorted(counts, self._least_samples)) + 1
            most_shards = max(self._least_shards, for_samples)
            part_sizes = sorted(sizes[shard] for shard in self.parts[part])
            total += sum(part_sizes[-2 * most_shards :])
        return total

    def _find(self, position: int) -> tuple[_Epoch, int]:
        within, part = divmod(position, len(self.parts))
        number, offset = divmod(within, self._lengths[part])
        epoch = self._epochs.get((part, number))
        if epoch is None:
            epoch = self._permuted(part, number)
            # Batches straddle epochs, so two are in use; workers may fetch a little out of order.
            for known_part, known_number in list(self._epochs):
                if known_part == part and known_number < number - 1:
                    del self._epochs[known_part, known_number]
            self._epochs[part, number] = epoch
        return epoch, offset

    def _permuted(self, part: int, number: int) -> _Epoch:
        random = random_numbers(self.seed, number * len(self.parts) + part, Purpose.ORDER)
        windows: list[list[int]] = [[]]
        for shard in random.permutation(self.parts[part]).tolist():
            last = windows[-1]
            has_shards = len(last) >= self._least_shards
            if has_shards and self.counts[last].sum() >= self._least_samples:
                windows.append([])
            windows[-1].append(shard)
        mixed = []
        for window in windows:
            samples = [self._firsts[shard] + np.arange(self.counts[shard]) for shard in window]
            mixed.append(random.permutation(np.concatenate(samples)))
        ends = np.cumsum([len(samples) for samples in mixed]).tolist()
        return _Epoch(np.concatenate(mixed), ends, windows)


def _deal(counts: Sequence[int], partitions: int) -> list[list[int]]:
    """Return the shards of each partition.

    The largest shards are dealt first, each to the partition with the fewest samples.
    """
    assert 0 < partitions <= len(counts)
    parts: list[list[int]] = [[] for _ in range(partitions)]
    loads = [0] * partitions
    for shard in sorted(range(len(counts)), key=lambda shard: -counts[shard]):
        least = loads.index(min(loads))
        parts[least].append(shard)
        loads[least] += counts[shard]
    return parts

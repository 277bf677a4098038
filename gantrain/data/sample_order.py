"""Which sample stands at a position of the endless training stream: a pure function."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gantrain.core.rng import Purpose, random_numbers

WINDOW = 16  # shards whose samples are mixed with one another, over all partitions
MIXED = 4096  # samples that are mixed at least: of small shards it takes more


class _Epoch(NamedTuple):
    samples: NDArray[np.int64]  # in their order
    ends: list[int]  # of the windows, as offsets into the samples
    shards: list[list[int]]  # of each window


class Order:
    """Positions 0, 1, 2, ... to the samples of shards that hold `counts` samples each.

    Position k is of partition k mod `partitions`, a share of the shards. In a partition every
    epoch has each sample exactly once. Shards are permuted, then the samples of a few shards, a
    window, among one another: each shard is needed for one stretch of an epoch only.
    """

    def __init__(self, counts: Sequence[int], seed: int, partitions: int = 1) -> None:
        self.counts, self.seed = np.array(counts), seed
        self.parts = _deal(counts, partitions)
        self._firsts = np.cumsum(self.counts) - self.counts
        self._lengths = [int(self.counts[part].sum()) for part in self.parts]
        self._least = -(-WINDOW // partitions), -(-MIXED // partitions)
        self._epochs: dict[tuple[int, int], _Epoch] = {}

    def __getitem__(self, position: int) -> int:
        epoch, offset = self._find(position)
        return int(epoch.samples[offset])

    def window(self, position: int) -> tuple[list[int], NDArray[np.int64], int]:
        """A position's window: shards, samples, and the partition's first position behind it."""
        epoch, offset = self._find(position)
        number = bisect_right(epoch.ends, offset)
        start, end = [0, *epoch.ends][number], epoch.ends[number]
        behind = position + (end - offset) * len(self.parts)
        return epoch.shards[number], epoch.samples[start:end], behind

    def two_windows(self, sizes: Sequence[int], partitions: Iterable[int]) -> int:
        """The most bytes that two windows of each partition have, by the shards' `sizes`.

        A batch may need both: the end of one and the beginning of the next.
        """
        total = 0
        for part in partitions:
            counts = np.sort(self.counts[self.parts[part]]).cumsum()
            most = max(self._least[0], int(np.searchsorted(counts, self._least[1])) + 1)
            total += sum(sorted(sizes[shard] for shard in self.parts[part])[-2 * most :])
        return total

    def _find(self, position: int) -> tuple[_Epoch, int]:
        within, part = divmod(position, len(self.parts))
        number, offset = divmod(within, self._lengths[part])
        epoch = self._epochs.get((part, number))
        if epoch is None:
            epoch = self._permuted(part, number)
            # Batches straddle epochs, so two are in use; workers may fetch a little out of order.
            kept = {k: e for k, e in self._epochs.items() if k[0] != part or k[1] >= number - 1}
            self._epochs = {**kept, (part, number): epoch}
        return epoch, offset

    def _permuted(self, part: int, number: int) -> _Epoch:
        random = random_numbers(self.seed, number * len(self.parts) + part, Purpose.ORDER)
        windows: list[list[int]] = [[]]
        first, count = self._firsts, self.counts
        for shard in random.permutation(self.parts[part]).tolist():
            last = windows[-1]
            if len(last) >= self._least[0] and count[last].sum() >= self._least[1]:
                windows.append([])
            windows[-1].append(shard)
        mixed = [
            random.permutation(np.concatenate([first[s] + np.arange(count[s]) for s in window]))
            for window in windows
        ]
        return _Epoch(np.concatenate(mixed), np.cumsum([len(m) for m in mixed]).tolist(), windows)


def _deal(counts: Sequence[int], partitions: int) -> list[list[int]]:
    """Shards by partition, the largest first to whichever has the fewest samples."""
    assert 0 < partitions <= len(counts)
    parts: list[list[int]] = [[] for _ in range(partitions)]
    loads = [0] * partitions
    for shard in sorted(range(len(counts)), key=lambda shard: -counts[shard]):
        least = loads.index(min(loads))
        parts[least].append(shard)
        loads[least] += counts[shard]
    return parts

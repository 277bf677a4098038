"""The time of batches from a loader whose processes start for each measurement."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")
_LEAST_UNTIMED = 1


def untimed_batches(workers: int, prefetched: int) -> int:
    """Return how many batches come before the clock starts.

    They are those that the loader's processes make ahead, so that none of them is free of cost.
    prefetched: batches that each process makes ahead.
    """
    return max(_LEAST_UNTIMED, workers * prefetched)


def batches_per_second(
    batches: Iterator[T],
    untimed: int,
    timed: int,
    use: Callable[[T], object],
    settle: Callable[[], None],
) -> float:
    """Return the batches a second that come from a loader and are used.

    untimed: batches that are thrown away before the clock starts. settle: waits for the device.
    """
    for _ in range(untimed):
        next(batches)
    settle()
    start = time.perf_counter()
    for _ in range(timed):
        use(next(batches))
    settle()
    return timed / (time.perf_counter() - start)

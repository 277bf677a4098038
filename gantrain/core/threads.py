"""Applies a function to many items on several threads."""

import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

_ITEMS_PER_WORKER = 16  # that are read ahead of what is consumed
_MOST_WORKERS = 16

In = TypeVar("In")
Out = TypeVar("Out")


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def local_ranks() -> int:
    """Return the number of ranks on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def usual_workers(most: int) -> int:
    """Return a number of threads, at most `most`: this rank's cores."""
    return max(1, min(most, cores() // local_ranks()))


def map_in_order(
    work: Callable[[In], Out],
    items: Iterable[In],
    workers: int | None = None,
    ahead: int | None = None,
) -> Generator[Out, None, None]:
    """Yield `work(item)` for each item, in the items' order, computed by threads.

    Pillow, numpy and torch release the interpreter's lock while they decode and compute. Only the
    caller's thread advances `items`. An error of `items` is raised after the results of the items
    before it, and an error of `work` where its result would be yielded. Closing the generator drops
    the calls that have not begun.

    workers: the number of threads. ahead: how many items are submitted beyond the one whose result
    is yielded next.
    """
    count = workers or usual_workers(_MOST_WORKERS)
    most = _ITEMS_PER_WORKER * count if ahead is None else ahead
    pool = ThreadPoolExecutor(count)
    running: deque[Future[Out]] = deque()
    failure: Exception | None = None
    remaining = iter(items)
    try:
        while True:
            try:
                item = next(remaining)
            except StopIteration:
                break
            except Exception as error:
                failure = error
                break
            # The context says how messages name options.
            running.append(pool.submit(copy_context().run, work, item))
            if len(running) > most:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
        if failure is not None:
            raise failure
    finally:
        pool.shutdown(cancel_futures=True)

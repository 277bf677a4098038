"""Applies a function to many items on several threads."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

_ITEMS_PER_WORKER = 16  # that are read ahead of what is consumed
_MOST_WORKERS = 16

In = TypeVar("In")
Out = TypeVar("Out")


def map_in_order(
    work: Callable[[In], Out],
    items: Iterable[In],
    workers: int | None = None,
    ahead: int | None = None,
) -> Generator[Out, None, None]:
    """Yield `work(item)` for each item, in the items' order, computed by threads.

    Pillow, numpy and torch release the interpreter's lock while they decode and compute. The
    caller's thread takes the items, so that work which an iterator does is not done in several
    threads at once. An error of `work` is raised where its result would be yielded. Closing the
    generator drops the calls that have not begun.

    workers: the number of threads. ahead: the number of items that are worked on before the caller
    asks for their results.
    """
    count = workers or min(_MOST_WORKERS, os.cpu_count() or 1)
    most = _ITEMS_PER_WORKER * count if ahead is None else ahead
    pool = ThreadPoolExecutor(count)
    running: deque[Future[Out]] = deque()
    try:
        for item in items:
            # The context says how messages name options.
            running.append(pool.submit(copy_context().run, work, item))
            if len(running) > most:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)

"""Applies a function to many items on several threads."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

_ITEMS_PER_WORKER = 16  # that are read ahead of what is consumed

In = TypeVar("In")
Out = TypeVar("Out")


def map_in_order(
    work: Callable[[In], Out], items: Iterable[In], workers: int | None = None
) -> Iterator[Out]:
    """Yield `work(item)` for each item, in the items' order, computed by threads.

    Only a bounded number of items is read ahead. Pillow and numpy release the interpreter's lock
    while they decode and compute.
    """
    remaining = iter(items)
    count = workers or min(16, os.cpu_count() or 1)
    with ThreadPoolExecutor(count) as pool:
        ahead = list(islice(remaining, _ITEMS_PER_WORKER * count))
        while ahead:
            yield from pool.map(work, ahead)
            ahead = list(islice(remaining, _ITEMS_PER_WORKER * count))

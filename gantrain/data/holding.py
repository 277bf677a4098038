"""Locks that keep a data set on the disk while a process reads it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gantrain.core.files import try_lock


def hold(folder: Path) -> int | None:
    """Keep a data set from being removed until the returned descriptor is closed.

    Many processes may hold one data set. The result is None on a file system without locks, where
    another process is removing the data set, and where there is no data set.
    """
    try:
        descriptor = os.open(folder / "index.json", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        is_held = try_lock(descriptor, shared=True)
    except OSError:
        is_held = False
    if not is_held:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def taken_from_use(folder: Path) -> Iterator[None]:
    """Take a data set out of use, by removing its `index.json`, so that it can be removed.

    Raises OSError where a process holds the data set.
    """
    index = folder / "index.json"
    if not index.exists():  # a removal was cut short
        yield
        return
    descriptor = os.open(index, os.O_RDWR | os.O_CLOEXEC)  # NFS locks only what may be written
    try:
        if not try_lock(descriptor):
            raise BlockingIOError(f"another process holds {folder}")
        index.unlink()
        yield
    finally:
        os.close(descriptor)

"""Locks that keep a data set on the disk while a process reads it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def hold(folder: Path) -> int | None:
    """Keep a data set from being removed until the returned descriptor is closed.

    Many processes may hold one data set. The result is None on a file system without locks, and
    where there is no data set.
    """
    try:
        descriptor = os.open(folder / "index.json", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
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
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        index.unlink()
        yield
    finally:
        os.close(descriptor)

"""Locks that keep a data set on the disk while a process reads it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def hold(folder: Path) -> int | None:
    """Keep a data set from being removed until the returned descriptor is closed; None where that
    is not possible.

    Many processes may hold one. Nothing is held on a file system without locks, and where there is
    no data set."""
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
    """A data set that nobody holds, without the file that makes it a data set. Raises OSError
    where somebody does.
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

"""The data format: WebDataset tars beside an index that reaches any sample with one read.

A data set is a folder with `s-000000.tar ...`, `index.json` and `index.npz`. The tars hold
*members*, the files of a sample (`key.image.jpg`). Training sees *fields*: a member, or one half of
a side-by-side member. A folder without `index.json` is no data set.
"""

import os
import threading
import zlib
from bisect import bisect_right
from collections import OrderedDict
from itertools import accumulate
from pathlib import Path
from typing import Any, Self

from gantrain.data.index import PARTS, Arrays, Field, Index, Shard, load

__all__ = ["DamagedSample", "Field", "Index", "Shard", "Shards"]

MAX_OPEN_FILES = 64


class DamagedSample(Exception):
    """A sample whose bytes aren't those that were written, or that doesn't decode."""


class _OpenFiles:
    """One process's file descriptors by shard, least recently used first, closed with it."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.lock = threading.Lock()
        self.descriptors: OrderedDict[int, int] = OrderedDict()

    def get(self, shard: int, path: Path) -> int:
        if shard not in self.descriptors:
            if len(self.descriptors) >= MAX_OPEN_FILES:
                os.close(self.descriptors.popitem(last=False)[1])
            self.descriptors[shard] = os.open(path, os.O_RDONLY)
        self.descriptors.move_to_end(shard)
        return self.descriptors[shard]

    def __del__(self) -> None:
        for descriptor in self.descriptors.values():
            os.close(descriptor)


class Shards:
    """A data set on disk, read at random: `shards.read(i, member)`.

    Safe to fork and to pickle: each process opens its own files, at most 64 at a time.
    Threads may share it.
    """

    def __init__(self, folder: Path, index: Index, arrays: Arrays) -> None:
        self.folder, self.index, self._arrays = folder, index, arrays
        self.fields, self.fingerprint = index.fields, index.fingerprint
        self._ends = list(accumulate(shard.samples for shard in index.shards))
        self._files = _OpenFiles()

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open and check the data set in `folder`.

        Raises ValueError, in one line, if it isn't one, is incomplete, or its index isn't sound.
        """
        folder = Path(folder).absolute()
        return cls(folder, *load(folder))

    def __len__(self) -> int:
        return self.index.samples

    def key(self, i: int) -> str:
        """The key of sample `i`: its name in the tar."""
        return bytes(self._arrays["keys"][i]).decode(errors="backslashreplace")

    def where(self, i: int) -> str:
        """Shard, sample number and key of sample `i`, for messages."""
        return f"{self._place(i)[1]}, sample {i} ({self.key(i)})"

    def read(self, i: int, member: str) -> bytes:
        """The bytes of one member of sample `i` (0 <= i < len).

        Raises DamagedSample if they aren't the bytes that were written, OSError if the file can't
        be opened or read.
        """
        if not 0 <= i < len(self):
            raise IndexError(f"sample {i} of {len(self)}")
        offset, size, crc = (int(self._arrays[f"{member}_{part}"][i]) for part in PARTS)
        if self._files.process != os.getpid():
            # After a fork these are the child's own copies, so closing them takes nothing from
            # the parent; the lock might be held by a thread that doesn't exist here.
            self._files = _OpenFiles()
        with self._files.lock:
            data = os.pread(self._files.get(*self._place(i)), size, offset)
        if len(data) != size:
            raise DamagedSample(f"{self.where(i)}: {member}: {len(data)} bytes of {size} read")
        if zlib.crc32(data) != crc:
            raise DamagedSample(f"{self.where(i)}: {member}: the bytes do not match their checksum")
        return data

    def _place(self, i: int) -> tuple[int, Path]:
        """The number and the path of sample `i`'s shard."""
        shard = bisect_right(self._ends, i)
        return shard, self.folder / self.index.shards[shard].name

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.folder, self.index, self._arrays)

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

from gantrain.data.index import Arrays, Field, Index, Shard, load

__all__ = ["DamagedSample", "Field", "Index", "Shard", "Shards"]

MAX_OPEN_FILES = 64


class DamagedSample(Exception):
    """A sample whose bytes aren't those that were written, or that doesn't decode."""


class _OpenFiles:
    """The file descriptors of one process, least recently used first."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.lock = threading.Lock()
        self.descriptors: OrderedDict[int, int] = OrderedDict()

    def close(self) -> None:
        while self.descriptors:
            os.close(self.descriptors.popitem()[1])


class Shards:
    """A data set on disk, read at random: `shards.read(i, member)`.

    Safe to fork and to pickle: each process opens its own files, at most 64 at a time.
    Threads may share it.
    """

    def __init__(self, folder: Path, index: Index, arrays: Arrays) -> None:
        self.folder = folder
        self.index = index
        self._keys = arrays["keys"]
        self._columns = {
            member: tuple(arrays[f"{member}_{part}"] for part in ("offset", "size", "crc"))
            for member in index.members
        }
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

    @property
    def fields(self) -> dict[str, Field]:
        """The fields by name."""
        return self.index.fields

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the content."""
        return self.index.fingerprint

    def key(self, i: int) -> str:
        """The key of sample `i`: its name in the tar."""
        return bytes(self._keys[i]).decode(errors="backslashreplace")

    def where(self, i: int) -> str:
        """Shard, sample number and key of sample `i`, for messages."""
        shard = self.index.shards[bisect_right(self._ends, i)].name
        return f"{self.folder / shard}, sample {i} ({self.key(i)})"

    def read(self, i: int, member: str) -> bytes:
        """The bytes of one member of sample `i` (0 <= i < len).

        Raises DamagedSample if they aren't the bytes that were written, OSError if the file can't
        be opened or read.
        """
        if not 0 <= i < len(self):
            raise IndexError(f"sample {i} of {len(self)}")
        offset, size, crc = (int(column[i]) for column in self._columns[member])
        if self._files.process != os.getpid():
            # After a fork these are the child's own copies, so closing them takes nothing from
            # the parent; the lock might be held by a thread that doesn't exist here.
            self._files.close()
            self._files = _OpenFiles()
        with self._files.lock:
            data = os.pread(self._descriptor(bisect_right(self._ends, i)), size, offset)
        if len(data) != size:
            reason = f"{len(data)} bytes of {size} could be read"
            raise DamagedSample(f"{self.where(i)}: {member}: {reason}")
        if zlib.crc32(data) != crc:
            raise DamagedSample(f"{self.where(i)}: {member}: the bytes do not match their checksum")
        return data

    def _descriptor(self, shard: int) -> int:
        files = self._files.descriptors
        if shard in files:
            files.move_to_end(shard)
            return files[shard]
        if len(files) >= MAX_OPEN_FILES:
            os.close(files.popitem(last=False)[1])
        files[shard] = os.open(self.folder / self.index.shards[shard].name, os.O_RDONLY)
        return files[shard]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_files"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._files = _OpenFiles()

    def __del__(self) -> None:
        if hasattr(self, "_files"):
            self._files.close()

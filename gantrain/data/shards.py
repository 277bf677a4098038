"""The data format: WebDataset tars beside an index that reaches any sample with one read.

A data set is a folder with `s-000000.tar ...`, `index.json` and `index.npz`. The tars hold
*members*, the files of a sample (`key.image.jpg`). Training sees *fields*: a member, or one half of
a side-by-side member. A folder without `index.json` is no data set.
"""

import math
import os
import zlib
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any, Self

from gantrain.core.printable import printable
from gantrain.data.cache import Remote, ShardCache, cache_folder
from gantrain.data.holding import hold
from gantrain.data.index import PARTS, Field, Index, Shard, load
from gantrain.data.index_arrays import Arrays

__all__ = ["DamagedSample", "Field", "Index", "Shard", "Shards"]

MAX_OPEN_FILES = 64


class DamagedSample(Exception):
    """A sample whose bytes aren't those that were written, or that doesn't decode."""


class Shards:
    """A data set read at random: `shards.read(i, member)`; remote shards by the node's cache.

    place: the folder or URL of the shards. Safe to fork and to pickle, not to share between
    threads; at most 64 files are open at a time."""

    def __init__(self, folder: Path, index: Index, arrays: Arrays, cache_gib: float) -> None:
        self.folder, self.index, self._arrays, self.cache_gib = folder, index, arrays, cache_gib
        self.place = index.base or str(folder)
        self.cache = (
            ShardCache(cache_folder() / "shards", cache_gib * 2**30) if index.is_remote else None
        )
        self.fields, self.fingerprint = index.fields, index.fingerprint
        self._ends = list(accumulate(shard.samples for shard in index.shards))
        self._open: OrderedDict[int, int] = (
            OrderedDict()
        )  # descriptors by shard, least recently used first
        self._held = hold(folder)  # a newer pack of the same images must not remove this one

    @classmethod
    def open(cls, folder: str | Path, cache_gib: float = math.inf) -> Self:
        """Open and check the data set in `folder`; its remote shards are kept in `cache_gib`.

        Raises ValueError, in one line, if it isn't one, is incomplete, or its index isn't sound.
        """
        folder = Path(folder).absolute()
        return cls(folder, *load(folder), cache_gib)

    def __len__(self) -> int:
        return self.index.samples

    @property
    def domains(self) -> tuple["Shards", ...]:
        """The sets that it consists of; of unpaired data there are two."""
        return (self,)

    def showing(self, field: str, name: str) -> Self:
        """The same samples with that field alone, under another name."""
        index = self.index.model_copy(update={"fields": {name: self.fields[field]}})
        return type(self)(self.folder, index, self._arrays, self.cache_gib)

    def converted(self, channels: Mapping[str, int]) -> Self:
        """The same samples with other channels of some fields, by name, to which `decode_sample`
        converts.

        The fingerprint differs too, since features that are kept by it belong to other values.
        """
        fields = {
            name: field.model_copy(update={"channels": channels.get(name, field.channels)})
            for name, field in self.fields.items()
        }
        changes = "".join(f"+{name}:{channels[name]}" for name in sorted(channels))
        update = {"fields": fields, "fingerprint": f"{self.fingerprint}{changes}"}
        return type(self)(
            self.folder, self.index.model_copy(update=update), self._arrays, self.cache_gib
        )

    def key(self, i: int) -> str:
        """The key of sample `i`: its name in the tar, with control characters escaped."""
        return printable(bytes(self._arrays["keys"][i]).decode(errors="backslashreplace"))

    def where(self, i: int) -> str:
        """Shard, sample number and key of sample `i`, for messages."""
        return f"{self.place}/{self.index.shards[self._shard(i)].name}, sample {i} ({self.key(i)})"

    def read(self, i: int, member: str) -> bytes:
        """The bytes of one member of sample `i` (0 <= i < len).

        Raises DamagedSample if they aren't the bytes that were written, OSError if the file can't
        be opened or read, FetchFailed if a remote one can't be had.
        """
        if not 0 <= i < len(self):
            raise IndexError(f"sample {i} of {len(self)}")
        offset, size, crc = (int(self._arrays[f"{member}_{part}"][i]) for part in PARTS)
        shard = self._shard(i)
        data = _read_part(self._descriptor(shard), size, offset)
        if self.cache and zlib.crc32(data) != crc:  # damaged there, or on its way?
            self._close(shard)
            data = _read_part(self._descriptor(shard, again=True), size, offset)
        if len(data) != size:
            raise DamagedSample(f"{self.where(i)}: {member}: {len(data)} bytes of {size} read")
        if zlib.crc32(data) != crc:
            raise DamagedSample(f"{self.where(i)}: {member}: the bytes do not match their checksum")
        return data

    def remote(self, shard: int) -> Remote:
        """The URL and length of a remote set's shard."""
        return f"{self.place}/{self.index.shards[shard].name}", self.index.shards[shard].bytes

    def _shard(self, i: int) -> int:
        return bisect_right(self._ends, i)

    def _descriptor(self, shard: int, again: bool = False) -> int:
        if shard not in self._open:
            if len(self._open) >= MAX_OPEN_FILES:
                self._close(next(iter(self._open)))
            if self.cache:
                self._open[shard] = self.cache.open(self.remote(shard), again)
            else:
                self._open[shard] = os.open(
                    Path(self.place, self.index.shards[shard].name), os.O_RDONLY
                )
            # One that the cache has evicted takes space on the disk for as long as it is open.
            for other in [s for s, d in self._open.items() if not os.fstat(d).st_nlink]:
                self._close(other)
        self._open.move_to_end(shard)
        return self._open[shard]

    def _close(self, shard: int) -> None:
        os.close(self._open.pop(shard))

    def __del__(self) -> None:
        for shard in list(self._open):
            self._close(shard)
        if self._held is not None:
            os.close(self._held)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.folder, self.index, self._arrays, self.cache_gib)


def _read_part(descriptor: int, size: int, offset: int) -> bytes:
    """So many bytes of a file, fewer at its end: memory is taken for those that are there, not
    for those claimed.
    """
    available = os.fstat(descriptor).st_size - offset
    return os.pread(descriptor, max(0, min(size, available)), offset)

"""The data format: WebDataset tars beside an index that reaches any sample with one read.

A data set is a folder with `s-000000.tar ...`, `index.json` and `index.npz`. The tars hold
*members*, the files of a sample (`key.image.jpg`). Training sees *fields*: a member, or one half of
a side-by-side member. A folder without `index.json` is no data set.
"""

import math
import os
import threading
import zlib
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Self

from gantrain.core.printable import printable
from gantrain.data.cache import Remote, ShardCache, cache_folder
from gantrain.data.field import Field
from gantrain.data.holding import hold
from gantrain.data.index import PARTS, Index, Shard, load
from gantrain.data.index_arrays import Arrays

__all__ = ["DamagedSample", "Field", "Index", "Shard", "Shards"]

MAX_OPEN_FILES = 64


class DamagedSample(Exception):
    """A sample whose bytes are not those that were written, or that does not decode."""


class Shards:
    """A data set read at random: `shards.read(i, member)`.

    Remote shards are read from the node's cache. place: the folder or URL of the shards. It is safe
    to fork, to pickle, and to read from several threads. At most 64 files are open at a time.
    """

    def __init__(self, folder: Path, index: Index, arrays: Arrays, cache_gib: float) -> None:
        self.folder = folder
        self.index = index
        self.place = index.base or str(folder)
        self.fields = index.fields
        self.fingerprint = index.fingerprint
        self.cache_gib = cache_gib
        self.cache: ShardCache | None = None
        if index.is_remote:
            self.cache = ShardCache(cache_folder() / "shards", cache_gib * 2**30)
        self._arrays = arrays
        self._ends = list(accumulate(shard.samples for shard in index.shards))
        # Descriptors by shard, least recently used first.
        self._open: OrderedDict[int, int] = OrderedDict()
        # Threads that read may close each other's descriptors.
        self._lock = threading.Lock()
        self._held = hold(folder)  # a newer pack of the same images must not remove this one

    @classmethod
    def open(cls, folder: str | Path, cache_gib: float = math.inf) -> Self:
        """Open and check the data set in `folder`, whose remote shards take at most `cache_gib`.

        Raises UserError, in one line, if there is none, it is incomplete, or its index is not
        sound.
        """
        folder = Path(folder).absolute()
        return cls(folder, *load(folder), cache_gib)

    def __len__(self) -> int:
        return self.index.samples

    @property
    def has_samples(self) -> bool:
        """Return whether samples can be read; synthetic data may be described and not drawn."""
        return bool(self._arrays)

    @property
    def domains(self) -> tuple["Shards", ...]:
        """The sets of which the data consist; unpaired data have two."""
        return (self,)

    def showing(self, field: str, name: str) -> Self:
        """Return the same samples with only that field, under another name."""
        index = self.index.model_copy(update={"fields": {name: self.fields[field]}})
        return type(self)(self.folder, index, self._arrays, self.cache_gib)

    def converted(self, changed: Mapping[str, Field]) -> Self:
        """Return the same samples with other channels or ranges of some fields, by name.

        `decode_sample` converts to the channels. The fingerprint differs too, since features that
        are cached by it belong to other values.
        """
        fields = {**self.fields, **changed}
        changes = "".join(f"+{name}:{_identity(changed[name])}" for name in sorted(changed))
        update = {"fields": fields, "fingerprint": f"{self.fingerprint}{changes}"}
        index = self.index.model_copy(update=update)
        return type(self)(self.folder, index, self._arrays, self.cache_gib)

    def key(self, i: int) -> str:
        """Return the key of sample `i`: its name in the tar, with control characters escaped."""
        return printable(bytes(self._arrays["keys"][i]).decode(errors="backslashreplace"))

    def where(self, i: int) -> str:
        """Return the shard, the number and the key of sample `i`, for messages."""
        return f"{self.place}/{self.index.shards[self._shard(i)].name}, sample {i} ({self.key(i)})"

    def read(self, i: int, member: str) -> bytes:
        """Return the bytes of one member of sample `i` (0 <= i < len).

        Raises DamagedSample if they are not the bytes that were written, OSError if the file cannot
        be opened or read, FetchFailed if a remote one cannot be fetched.
        """
        if not 0 <= i < len(self):
            raise IndexError(f"sample {i} of {len(self)}")
        offset, size, crc = (int(self._arrays[f"{member}_{part}"][i]) for part in PARTS)
        shard = self._shard(i)
        data = self._read_from(shard, size, offset)
        if self.cache and zlib.crc32(data) != crc:  # damaged there, or on its way?
            data = self._read_from(shard, size, offset, again=True)
        if len(data) != size:
            raise DamagedSample(f"{self.where(i)}: {member}: {len(data)} bytes of {size} read")
        if zlib.crc32(data) != crc:
            raise DamagedSample(f"{self.where(i)}: {member}: the bytes do not match their checksum")
        return data

    def _read_from(self, shard: int, size: int, offset: int, again: bool = False) -> bytes:
        """Return a part of a shard. again: fetch a remote shard once more before."""
        with self._lock:
            if again and shard in self._open:
                self._close(shard)
            descriptor = os.dup(self._descriptor(shard, again))
        try:
            return _read_part(descriptor, size, offset)
        finally:
            os.close(descriptor)

    def remote(self, shard: int) -> Remote:
        """Return the URL and the length of a remote set's shard."""
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
            # A shard that the cache has evicted takes space on the disk for as long as it is open.
            for other, descriptor in list(self._open.items()):
                if not os.fstat(descriptor).st_nlink:
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

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.folder, self.index, self._arrays, self.cache_gib)


def _identity(field: Field) -> str:
    """Return a text that changes with the channels and the range of a field."""
    if field.range is None:
        return str(field.channels)
    return f"{field.channels}:{field.range[0]}:{field.range[1]}"


def _read_part(descriptor: int, size: int, offset: int) -> bytes:
    """Return up to `size` bytes of a file from `offset` on.

    Memory is taken for the bytes that the file has, not for those that an index claims.
    """
    available = os.fstat(descriptor).st_size - offset
    return os.pread(descriptor, max(0, min(size, available)), offset)

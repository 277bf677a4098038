"""Writing a data set: all of it or nothing, and never over something that is there."""

import os
import re
import tarfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from gantrain.core.files import atomic_folder, write_bytes
from gantrain.data.index import PARTS, Field, Index, Shard, save

# A key is a sub-path that stays inside, without control characters. WebDataset takes it up to the
# first dot behind the last slash, so that only folders may have dots, though not in front.
_CONTROL = r"\x00-\x1f\x7f-\x9f"
_KEY = re.compile(rf"(?!__)([^./\\{_CONTROL}][^/\\{_CONTROL}]*/)*[^./\\{_CONTROL}]+")
_SHARD_BYTES = 256 << 20


class PackedSample(NamedTuple):
    """A sample to write: its key, such as `cam1/0`, and (extension, bytes) by member."""

    key: str
    members: Mapping[str, tuple[str, bytes]]


def write_shards(
    samples: Iterable[PackedSample],
    folder: str | Path,
    fields: Mapping[str, Field],
    *,
    shard_samples: int = 10_000,
    extras: Mapping[str, bytes] | None = None,
) -> Index:
    """Write samples, in their order, as a new data set in `folder`; returns its index.

    A tar ends at 256 MiB or `shard_samples`. `extras` are further files of the folder, by name.
    Raises ValueError as `appearing`, and if a key is not usable or there are no samples; OSError if
    the disk refuses."""
    from webdataset.writer import ShardWriter  # imports torch, over a second

    members = sorted({field.member for field in fields.values()})
    rows: dict[str, list[int]] = {f"{m}_{part}": [] for m in members for part in PARTS}
    keys: dict[str, None] = {}  # in order
    shards: list[Shard] = []

    def close_shard(path: str) -> None:
        count = len(keys) - sum(shard.samples for shard in shards)
        if not count:  # the writer opens its first tar before it knows of a sample
            return
        with tarfile.open(path, "r:") as tar:
            for entry in tar:
                # Neither the last name of a key nor a member holds a dot.
                member = entry.name.rpartition("/")[2].split(".")[1]
                rows[f"{member}_offset"].append(entry.offset_data)
                rows[f"{member}_size"].append(entry.size)
        shards.append(
            Shard(name=os.path.basename(path), bytes=os.path.getsize(path), samples=count)
        )

    limits = {"maxsize": _SHARD_BYTES, "maxcount": shard_samples}
    # Fixed time and owner: the same samples give the same bytes. PAX takes names of any length.
    same = {"mtime": 0, "user": "", "group": "", "format": "PAX_FORMAT"}
    with atomic_folder(Path(folder).absolute()) as partial:
        tars = str(partial).replace("%", "%%") + "/s-%06d.tar"
        with ShardWriter(
            tars, post=close_shard, **limits, **same, verbose=0, encoder=False
        ) as writer:
            for key, files in samples:
                if key in keys or not _KEY.fullmatch(key):
                    raise ValueError(
                        f"key {key!r} comes twice, or is no sub-path whose last name has no '.'"
                    )
                writer.write(
                    {"__key__": key}
                    | {f"{m}.{extension}": data for m, (extension, data) in files.items()}
                )
                keys[key] = None
                for member, (_, data) in files.items():
                    rows[f"{member}_crc"].append(zlib.crc32(data))
        if not keys:
            raise ValueError(f"there are no samples to write to {folder}")
        for name, content in (extras or {}).items():
            write_bytes(partial / name, content)
        return save(partial, fields, shards, keys, rows)

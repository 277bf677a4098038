"""Write a data set: all of it or nothing, and never over an existing one."""

import os
import re
import tarfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from gantrain.core.errors import UserError
from gantrain.core.files import atomic_folder, write_bytes
from gantrain.data.field import Field
from gantrain.data.index import PARTS, Index, Shard
from gantrain.data.index_writer import save_index

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
    """Write samples, in their order, as a new data set in `folder`, and return its index.

    A tar ends at 256 MiB or `shard_samples`. extras: further files of the folder, by name. Raises
    UserError as `atomic_folder` does, and if a key is not usable or there are no samples; OSError
    if the disk refuses.
    """
    from webdataset.writer import ShardWriter  # imports torch, over a second

    members = sorted({field.member for field in fields.values()})
    rows: dict[str, list[int]] = {}
    for member in members:
        rows |= {f"{member}_{part}": [] for part in PARTS}
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

    options: dict[str, object] = {
        "post": close_shard,
        "maxsize": _SHARD_BYTES,
        "maxcount": shard_samples,
        # With a fixed time and owner, the same samples give the same bytes.
        "mtime": 0,
        "user": "",
        "group": "",
        "format": "PAX_FORMAT",  # takes names of any length
        "verbose": 0,
        "encoder": False,
    }
    with atomic_folder(Path(folder).absolute()) as partial:
        tars = str(partial).replace("%", "%%") + "/s-%06d.tar"
        with ShardWriter(tars, **options) as writer:
            for key, files in samples:
                if key in keys or not _KEY.fullmatch(key):
                    raise UserError(
                        f"key {key!r} comes twice, or is no sub-path whose last name has no '.'"
                    )
                record: dict[str, object] = {"__key__": key}
                for member, (extension, data) in files.items():
                    record[f"{member}.{extension}"] = data
                    rows[f"{member}_crc"].append(zlib.crc32(data))
                writer.write(record)
                keys[key] = None
        if not keys:
            raise UserError(f"there are no samples to write to {folder}")
        for name, content in (extras or {}).items():
            write_bytes(partial / name, content)
        return save_index(partial, fields, shards, keys=keys, rows=rows)

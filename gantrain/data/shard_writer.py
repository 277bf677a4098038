"""Writing a data set: all of it or nothing, and never over something that is there."""

import fcntl
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path

import numpy as np

from gantrain.data.index import PARTS, VERSION, Arrays, Field, Index, Shard, fingerprint


@dataclass(frozen=True)
class Packed:
    """A sample to write: its key, without dots, and (extension, bytes) by member."""

    key: str
    members: Mapping[str, tuple[str, bytes]]


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold the lock file `path`, which is gone afterwards and free when its holder is killed.

    Raises ValueError if another process holds it and `wait` is false.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            raise ValueError(f"another process holds {path}; wait for it or stop it") from None
        # Its last holder may have removed the file between our open and our lock.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                break
        os.close(descriptor)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def refuse_existing(folder: Path) -> None:
    """Raise ValueError if there is something at `folder`."""
    if folder.exists() or folder.is_symlink():
        raise ValueError(f"{folder} exists and is never overwritten; remove it or name another")


def write_shards(
    samples: Iterable[Packed],
    folder: str | Path,
    fields: Mapping[str, Field],
    *,
    shard_bytes: int = 256 << 20,
    shard_samples: int = 10_000,
    extras: Mapping[str, bytes] | None = None,
) -> Index:
    """Write samples, in their order, as a new data set in `folder`; returns its index.

    A tar ends at `shard_bytes` or `shard_samples`. `extras` are further files of the folder, by
    name. Everything is written into a hidden folder beside it that takes its name at the end: a
    killed run leaves no data set, and the next one removes what it left.

    Raises ValueError if `folder` exists, another process is writing it, a key is not usable or
    there are no samples; OSError if the disk refuses.
    """
    folder = Path(folder).absolute()
    refuse_existing(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.parent / f".{folder.name}.lock", wait=False):
        refuse_existing(folder)
        # Under the lock nobody else is writing this folder: these are a killed run's.
        for leftover in folder.parent.glob(f".{escape(folder.name)}.partial-*"):
            shutil.rmtree(leftover)
        partial = folder.parent / f".{folder.name}.partial-{os.getpid()}"
        partial.mkdir()
        try:
            members = {field.member for field in fields.values()}
            limits = {"maxcount": shard_samples, "maxsize": shard_bytes}
            shards, arrays = _write(samples, partial, members, limits)
            index = Index(
                version=VERSION,
                samples=len(arrays["keys"]),
                fingerprint=fingerprint(fields, shards, arrays),
                shards=shards,
                fields=dict(fields),
            )
            for name, content in (extras or {}).items():
                (partial / name).write_bytes(content)
            with open(partial / "index.json", "w", encoding="utf-8") as file:
                file.write(index.model_dump_json(indent=1) + "\n")
                file.flush()
                os.fsync(file.fileno())
            partial.rename(folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    return index


def _write(
    samples: Iterable[Packed], folder: Path, members: set[str], limits: dict[str, int]
) -> tuple[list[Shard], Arrays]:
    from webdataset.writer import ShardWriter  # imports torch, over a second

    rows: dict[str, list[int]] = {f"{m}_{part}": [] for m in sorted(members) for part in PARTS}
    keys: dict[str, None] = {}  # in order
    shards: list[Shard] = []

    def close_shard(path: str) -> None:
        count = len(keys) - sum(shard.samples for shard in shards)
        if not count:  # the writer opens its first tar before it knows of a sample
            return
        with tarfile.open(path, "r:") as tar:
            for entry in tar:
                member = entry.name.split(".")[1]  # neither keys nor members hold a dot
                rows[f"{member}_offset"].append(entry.offset_data)
                rows[f"{member}_size"].append(entry.size)
        size = os.path.getsize(path)
        shards.append(Shard(name=os.path.basename(path), bytes=size, samples=count))

    tars = str(folder).replace("%", "%%") + "/s-%06d.tar"
    # Fixed time and owner: the same samples give the same bytes. PAX takes names of any length.
    same = {"mtime": 0, "user": "", "group": "", "format": "PAX_FORMAT"}
    with ShardWriter(tars, post=close_shard, **limits, **same, verbose=0, encoder=False) as writer:
        for sample in samples:
            if sample.key in keys or not usable_key(sample.key):
                raise ValueError(f"key {sample.key!r} comes twice or holds '.', '/' or nothing")
            assert set(sample.members) == members, (sample.key, members)
            files = {f"{member}.{ext}": data for member, (ext, data) in sample.members.items()}
            writer.write({"__key__": sample.key, **files})
            keys[sample.key] = None
            for member, (_, data) in sample.members.items():
                rows[f"{member}_crc"].append(zlib.crc32(data))
    if not keys:
        raise ValueError(f"there are no samples to write to {folder}")
    arrays = {name: np.array(row, PARTS[name.rpartition("_")[2]]) for name, row in rows.items()}
    arrays["keys"] = np.array([key.encode() for key in keys])
    np.savez(folder / "index.npz", **arrays)  # type: ignore[arg-type]
    return shards, arrays


def usable_key(key: str) -> bool:
    """Whether WebDataset takes `key` for the name of a sample, and no path for a way out."""
    return bool(key) and not set(key) & set("./\\\0\n") and not key.startswith("__")

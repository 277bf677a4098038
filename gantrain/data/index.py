"""The index of a data set: its content, and the checks that an untrusted one must pass."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pydantic
from pydantic import BaseModel

from gantrain.core import formats
from gantrain.core.error_messages import check
from gantrain.core.errors import UserError
from gantrain.core.paths import check_not_special
from gantrain.core.printable import has_controls, printable
from gantrain.data.field import Field, Name, check_fields
from gantrain.data.index_arrays import MOST_KEY_BYTES, Arrays, read_arrays
from gantrain.data.urls import check_url, is_url

PARTS = {"offset": "int64", "size": "int64", "crc": "uint32"}  # arrays of a member

# Bounds of what an index may state. They are far beyond what anybody trains on, and keep a hostile
# one from making networks, arrays or lists that fill the memory.
MOST_INDEX_BYTES = 32 << 20  # of index.json: some 400,000 shards
MOST_ARRAY_BYTES = 16 << 30  # of index.npz
_ARCHIVE_BYTES = 1 << 20  # of the headers of index.npz

Count = Annotated[int, pydantic.Field(gt=0, le=2**40, strict=True)]
# An index may come from a server: its names must not lead out of the folder.
SHARD_NAME = r"^([A-Za-z0-9_-]+\.)+tar$"
ShardName = Annotated[str, pydantic.Field(pattern=SHARD_NAME, max_length=200)]


class Shard(BaseModel, extra="forbid", frozen=True):
    """One tar: its file name, length in bytes and number of samples."""

    name: ShardName
    bytes: Annotated[int, pydantic.Field(gt=0, le=2**50)]
    samples: Count


class Index(BaseModel, extra="forbid", frozen=True):
    """The content of `index.json`.

    base: the folder or URL of the shards; None where they lie beside the index.
    """

    format: Literal[3]  # formats.INDEX
    samples: Count
    fingerprint: Annotated[str, pydantic.Field(pattern="^[0-9a-f]{64}$")]
    shards: Annotated[list[Shard], pydantic.Field(max_length=1_000_000), pydantic.FailFast()]
    fields: Annotated[dict[Name, Field], pydantic.Field(max_length=256)]
    base: str | None = None

    @property
    def is_remote(self) -> bool:
        return is_url(self.base or "")

    @property
    def members(self) -> list[str]:
        """The members' names, sorted."""
        return sorted({field.member for field in self.fields.values()})


def fingerprint(fields: Mapping[str, Field], shards: list[Shard], arrays: Arrays) -> str:
    """Return the SHA-256 (hex) of a data set: its fields, and its samples' order, keys and CRCs."""
    # The sizes that the files had before are no content of the data set, and a measurement of the
    # values is none either.
    left_out = {"original_min_size", "original_max_size", "statistics"}
    members = [
        f'"{name}":{fields[name].model_dump_json(exclude=left_out)}' for name in sorted(fields)
    ]
    digest = hashlib.sha256(f"gantrain 1\n{{{','.join(members)}}}".encode())
    for shard in shards:
        digest.update(f"\n{shard.name} {shard.samples}".encode())
    # Offsets stay out: the same samples in a tar with other headers are the same data.
    for name in sorted(arrays):
        if name.endswith("_offset"):
            continue
        digest.update(f"\n{name} {arrays[name].dtype.str}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


def load(folder: Path) -> tuple[Index, Arrays]:
    """Read and check the index of the data set in `folder`, which may come from any server.

    Arrays are `keys` (bytes) and, by member, `M_offset`, `M_size` (int64, bytes within the sample's
    shard) and `M_crc` (uint32). Raises UserError, in one line, if anything is missing or unsound.
    """
    index = load_index(folder)
    arrays = _load_arrays(folder, index)
    if not index.is_remote:
        _check_shards(folder, index)
    if fingerprint(index.fields, index.shards, arrays) != index.fingerprint:
        reason = "index.json and index.npz do not belong together (their fingerprints differ)"
        raise UserError(f"{folder}: {reason}; copy both again from the same data set")
    return index, arrays


def _check_shards(folder: Path, index: Index) -> None:
    """Raises UserError where a shard is missing.

    A shard that is too short has damaged samples, which are found when they are read.
    """
    for shard in index.shards:
        path = folder / (index.base or "") / shard.name
        check_not_special(path, "data set")
        if not path.is_file():
            advice = "index the tars where they are" if index.base else "copy the data set again"
            raise UserError(f"{index.base or folder}: shard {shard.name} is missing; {advice}")


def load_index(folder: Path, base: str | None = None) -> Index:
    """Read and check the index without its arrays.

    base: the place of the shards, whatever the index says. An index from a server must not lead
    anywhere else.
    """
    path = folder / "index.json"
    check_not_special(path, "data set")
    if not path.is_file():
        raise UserError(f"{folder} is not a data set: no index.json; `gantrain prepare` makes one")
    content = _read_json(path)
    try:  # before pydantic, whose errors would repeat the credentials of a URL
        content["base"] = _check_base(base or content.get("base"))
    except ValueError as error:
        raise UserError(f"{path}: base: {error}; or index the tars again") from None
    try:
        return _check_index(content)
    except (ValueError, RecursionError) as error:
        reason = printable(str(error).splitlines()[0])
        raise UserError(f"{path}: {reason:.1000}; copy or prepare the data again") from None


def _read_json(path: Path) -> dict[str, object]:
    """Return the mapping in an `index.json` of this format."""
    advice = "copy or prepare the data again"
    size = path.stat().st_size
    if size > MOST_INDEX_BYTES:
        raise UserError(f"{path}: found {size} bytes, allowed: {MOST_INDEX_BYTES}; {advice}")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: {error}; {advice}") from None
    number = content.get("format") if isinstance(content, dict) else None
    if isinstance(number, list | dict):  # which may be too deep to be printed
        raise UserError(f"{path}: format: found no number; {advice}")
    formats.check_format(path, content, formats.INDEX, "prepare or index the data again")
    return dict(content)


def _check_index(content: dict[str, object]) -> Index:
    index = check(Index, content, most=1)
    if len({shard.name for shard in index.shards}) != len(index.shards):
        raise UserError("a shard is named twice")
    if sum(shard.samples for shard in index.shards) != index.samples or not index.fields:
        raise UserError(f"the samples do not add up to {index.samples} or no fields")
    check_fields(index.fields)
    return index


def _check_base(base: object) -> str | None:
    if base is None:
        return None
    if not isinstance(base, str):
        raise UserError("found no text, allowed: a folder or a URL; correct it")
    if is_url(base):
        return check_url(base)
    if not base.startswith("/") or has_controls(base):
        raise UserError(f"found {base!r:.100}, allowed: a path from the root, or a URL; correct it")
    return base


def _array_types(index: Index) -> dict[str, str]:
    """Return the types of the arrays that belong to an index, by name."""
    types = {"keys": "S"}
    for member in index.members:
        for part, dtype in PARTS.items():
            types[f"{member}_{part}"] = dtype
    return types


def largest_arrays(index: Index) -> int:
    """Return the most bytes that the `index.npz` of an index may have."""
    number_bytes = sum(np.dtype(dtype).itemsize for dtype in PARTS.values())
    sample_bytes = len(index.members) * number_bytes + MOST_KEY_BYTES
    return min(index.samples * sample_bytes + _ARCHIVE_BYTES, MOST_ARRAY_BYTES)


def _load_arrays(folder: Path, index: Index) -> Arrays:
    path = folder / "index.npz"
    check_not_special(path, "data set")
    if not path.is_file():
        raise UserError(f"{folder}: index.npz is missing; copy the data set again")
    try:
        size = path.stat().st_size
        if size > largest_arrays(index):
            raise UserError(
                f"it has {size} bytes, {index.samples} samples take at most {largest_arrays(index)}"
            )
        arrays = read_arrays(path, _array_types(index), index.samples)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}; copy the data set again") from None
    shard_bytes = [shard.bytes for shard in index.shards]
    limit = np.repeat(shard_bytes, [shard.samples for shard in index.shards])
    for member in index.members:
        offset = arrays[f"{member}_offset"]
        length = arrays[f"{member}_size"]
        # Compared without adding: a sum of hostile numbers could overflow.
        outside = (offset < 0) | (length < 0) | (length > limit) | (offset > limit - length)
        if outside.any():
            sample = f"{member} of sample {int(outside.argmax())} lies outside its shard"
            raise UserError(f"{path}: {sample}; copy or prepare the data set again")
    return arrays

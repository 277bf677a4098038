"""The index of a data set: what it says, and whether it can be trusted."""

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from zipfile import BadZipFile

import numpy as np
import pydantic
from numpy.typing import NDArray
from pydantic import BaseModel, NonNegativeInt, PositiveInt

from gantrain import files, formats
from gantrain.problems import check

PARTS = {"offset": "int64", "size": "int64", "crc": "uint32"}  # arrays of a member

Arrays = dict[str, NDArray[Any]]
Size = tuple[PositiveInt, PositiveInt]  # height, width
Dtype = Literal["uint8", "uint16", "float32"]
Byte = Annotated[int, pydantic.Field(ge=0, le=255)]
NAME = r"^[A-Za-z0-9_-]{1,64}$"  # no dot, since WebDataset splits `key.member.ext` at dots
Name = Annotated[str, pydantic.Field(pattern=NAME)]
# An index may come from a server: its names must not lead out of the folder.
SHARD_NAME = r"^([A-Za-z0-9_-]+\.)+tar$"
ShardName = Annotated[str, pydantic.Field(pattern=SHARD_NAME, max_length=200)]


class Field(BaseModel, extra="forbid", frozen=True):
    """What training sees of a sample under one name.

    member: the file in the tar. half: None for all of it, 0 for the left half, 1 for the right.
    kind: `label` holds class ids, `instances` those of instances, `image` anything else. label_counts: pixels
    by id. ignore: the id of pixels that are of no class; networks see it as the last of `classes`, which counts it.
    min_size, max_size: smallest and largest (height, width) over the data set, in pixels.
    """

    member: Name
    half: Literal[0, 1] | None = None
    kind: Literal["image", "label", "instances"] = "image"
    channels: PositiveInt
    dtype: Dtype = "uint8"
    classes: PositiveInt | None = None
    label_counts: dict[NonNegativeInt, NonNegativeInt] | None = None
    # Left out where there is none, so that older data sets keep their fingerprints.
    ignore: int | None = pydantic.Field(None, ge=0, le=65535, exclude_if=lambda ignore: ignore is None)
    palette: list[tuple[Byte, Byte, Byte]] | None = None
    min_size: Size
    max_size: Size


class Shard(BaseModel, extra="forbid", frozen=True):
    """One tar: its file name, length in bytes and number of samples."""

    name: ShardName
    bytes: PositiveInt
    samples: PositiveInt


class Index(BaseModel, extra="forbid", frozen=True):
    """The content of `index.json`. base: the folder or URL where the shards lie, where that isn't the index's own."""

    format: Literal[2]  # formats.INDEX
    samples: PositiveInt
    fingerprint: str
    shards: list[Shard]
    fields: dict[Name, Field]
    base: str | None = None

    @property
    def is_remote(self) -> bool:
        return "://" in (self.base or "")

    @property
    def members(self) -> list[str]:
        """The members' names, sorted."""
        return sorted({field.member for field in self.fields.values()})


def fingerprint(fields: Mapping[str, Field], shards: list[Shard], arrays: Arrays) -> str:
    """SHA-256 (hex) of a data set's content: fields, order of the samples, keys and checksums."""
    described = ",".join(f'"{name}":{fields[name].model_dump_json()}' for name in sorted(fields))
    digest = hashlib.sha256(f"gantrain 1\n{{{described}}}".encode())
    for shard in shards:
        digest.update(f"\n{shard.name} {shard.samples}".encode())
    # Offsets stay out: the same samples in a tar with other headers are the same data.
    for name in sorted(name for name in arrays if not name.endswith("_offset")):
        digest.update(f"\n{name} {arrays[name].dtype.str}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


def save(
    folder: Path,
    fields: Mapping[str, Field],
    shards: list[Shard],
    keys: Iterable[str],
    rows: Mapping[str, list[int]],
    base: str | None = None,
) -> Index:
    """Write the index of samples into `folder`; `rows` are the arrays that `load` gives besides `keys`."""
    arrays: Arrays = {name: np.array(row, PARTS[name.rpartition("_")[2]]) for name, row in rows.items()}
    arrays["keys"] = np.array([key.encode(errors="surrogateescape") for key in keys])
    digest = fingerprint(fields, shards, arrays)
    about = {"samples": len(arrays["keys"]), "fingerprint": digest, "base": base}
    index = Index.model_validate({"format": formats.INDEX, "shards": shards, "fields": dict(fields), **about})
    with files.replacing(folder / "index.npz") as partial, partial.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    files.write_text(folder / "index.json", index.model_dump_json(indent=1) + "\n")
    return index


def load(folder: Path) -> tuple[Index, Arrays]:
    """The checked index of the data set in `folder`, which may come from an untrusted server.

    Arrays are `keys` (bytes) and, by member, `M_offset`, `M_size` (int64, bytes within the sample's
    shard) and `M_crc` (uint32). Raises ValueError, in one line, if anything is missing or unsound.
    """
    index = load_index(folder)
    arrays = _load_arrays(folder, index)
    for shard in [] if index.is_remote else index.shards:
        # What a shorter one has lost are damaged samples, like others that can't be read.
        if not (folder / (index.base or "") / shard.name).is_file():
            advice = "index the tars where they are" if index.base else "copy the data set again"
            raise ValueError(f"{index.base or folder}: shard {shard.name} is missing; {advice}")
    if fingerprint(index.fields, index.shards, arrays) != index.fingerprint:
        reason = "index.json and index.npz do not belong together (their fingerprints differ)"
        raise ValueError(f"{folder}: {reason}; copy both again from the same data set")
    return index, arrays


def load_index(folder: Path) -> Index:
    """The index without its arrays, as `load` checks it."""
    path = folder / "index.json"
    if not path.is_file():
        raise ValueError(f"{folder} is not a data set: no index.json; `gantrain prepare` makes one")
    try:
        content = json.loads(path.read_bytes())
        if isinstance(content, dict):
            formats.check_format("index.json", content, formats.INDEX, "prepare or index the data again")
        index = check(Index, content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {str(error).splitlines()[0]}; copy or prepare the data again") from None
    if len({shard.name for shard in index.shards}) != len(index.shards):
        raise ValueError(f"{path}: a shard is named twice")
    if sum(shard.samples for shard in index.shards) != index.samples or not index.fields:
        raise ValueError(f"{path}: the samples do not add up to {index.samples} or no fields")
    return index


def _load_arrays(folder: Path, index: Index) -> Arrays:
    path = folder / "index.npz"
    wanted = {f"{member}_{part}": PARTS[part] for member in index.members for part in PARTS} | {"keys": "S"}
    try:
        # Opened here, since numpy leaves the file open where it is no archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in wanted}
    except FileNotFoundError:
        raise ValueError(f"{folder}: index.npz is missing; copy the data set again") from None
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    for name, dtype in wanted.items():
        array, said = arrays[name], f"expected {dtype}[{index.samples}]"
        if dtype not in (array.dtype.kind, str(array.dtype)) or array.shape != (index.samples,):
            raise ValueError(f"{path}: {name} is {array.dtype}{list(array.shape)}, {said}")
    limit = np.repeat([shard.bytes for shard in index.shards], [s.samples for s in index.shards])
    for member in index.members:
        offset, size = arrays[f"{member}_offset"], arrays[f"{member}_size"]
        # Compared without adding: a sum of hostile numbers could overflow.
        outside = (offset < 0) | (size < 0) | (size > limit) | (offset > limit - size)
        if outside.any():
            sample = f"{member} of sample {int(outside.argmax())} lies outside its shard"
            raise ValueError(f"{path}: {sample}; copy or prepare the data set again")
    return arrays

"""Read an untrusted `index.npz`: nothing is decompressed, evaluated or allocated without bounds.

numpy's reader would expand whatever an archive claims to hold. This reader takes only what
`numpy.savez` writes for one-dimensional arrays: members that are stored without compression, one
after another, in little-endian order.
"""

import os
import re
import struct
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gantrain.core.errors import UserError

Array = NDArray[Any]
Arrays = dict[str, Array]

MOST_KEY_BYTES = 4096  # of a sample's name, as of a path
_MOST_MEMBERS = 4096
# The header before a member's name. Its 11 values are the signature, the version, flags, the
# method of compression, time, date, CRC, compressed size, size, and the lengths of name and extra.
_MEMBER = struct.Struct("<4s5H3I2H")
_MEMBER_START = b"PK\x03\x04"
_END_START = b"PK\x05\x06"
# The extra of a member past 4 GiB: the tag, its length, size and compressed size.
_SIZES = struct.Struct("<2H2Q")
_UNKNOWN = 0xFFFFFFFF  # a size that stands in _SIZES
_UTF8_NAME = 0x800  # the only flag that a plain member may have
_END_BYTES = 22
_HEADER = re.compile(
    rb"\{'descr': '([^']{1,16})', 'fortran_order': False, 'shape': \(([0-9, ]{1,40})\), \}\s*"
)
_MOST_HEADER_BYTES = 1000
_NPY_START = b"\x93NUMPY\x01\x00"  # numpy's magic number and the version
_NPY_LENGTH_BYTES = 2  # which hold the header's length
_TYPES = {"int64": "<i8", "uint32": "<u4"}


class _Member(NamedTuple):
    """The place of an array's file in the archive, and the CRC that the archive states."""

    start: int
    size: int
    crc: int


def read_arrays(path: Path, types: Mapping[str, str], samples: int) -> Arrays:
    """Return the arrays of an archive, each of `samples` items.

    types: of the arrays (int64, uint32 or S) by name. Raises UserError, in a few words, for any
    other content; OSError.
    """
    with path.open("rb") as file:
        members = _find_members(file, {f"{name}.npy".encode() for name in types})
        arrays = {}
        for name, kind in types.items():
            member = members.get(f"{name}.npy".encode())
            if member is None:
                raise UserError(f"it holds no {name}")
            arrays[name] = _read(file, member, name=name, kind=kind, samples=samples)
    return arrays


def _find_members(file: IO[bytes], names: Collection[bytes]) -> dict[bytes, _Member]:
    """Return the places of those members of the archive, by name."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - _END_BYTES))
    if file.read(len(_END_START)) != _END_START:
        raise UserError("it is cut short, or no archive of arrays")
    members: dict[bytes, _Member] = {}
    position = 0
    for _ in range(_MOST_MEMBERS):
        file.seek(position)
        head = file.read(_MEMBER.size)
        if not head.startswith(_MEMBER_START) or len(head) < _MEMBER.size:
            break  # the archive's directory, which repeats what is known by now
        _, _, flags, method, _, _, crc, packed, size, name_bytes, extra_bytes = _MEMBER.unpack(head)
        name = file.read(name_bytes)
        extra = file.read(extra_bytes)
        if _UNKNOWN in (size, packed):
            if len(extra) < _SIZES.size:
                raise UserError("it is damaged")
            _, _, size, packed = _SIZES.unpack_from(extra)
        if method or packed != size or flags & ~_UTF8_NAME:
            raise UserError("it is compressed, encrypted or streamed")
        start = position + _MEMBER.size + name_bytes + extra_bytes
        if size > end - start:
            raise UserError("it is cut short")
        if name in names:
            members[name] = _Member(start, size, crc)
        position = start + size
    return members


def _read(file: IO[bytes], member: _Member, name: str, kind: str, samples: int) -> Array:
    """Return one `.npy` file of the archive as an array."""
    file.seek(member.start)
    start = file.read(len(_NPY_START) + _NPY_LENGTH_BYTES)
    length = int.from_bytes(start[len(_NPY_START) :], "little")
    if not start.startswith(_NPY_START) or length > _MOST_HEADER_BYTES:
        raise UserError(f"{name} is no array of one dimension")
    header = file.read(length)
    described = _HEADER.fullmatch(header)
    if not described:
        raise UserError(f"{name} is no array of one dimension")
    dtype, shape = (part.decode("latin-1") for part in described.groups())
    item_bytes = _item_bytes(dtype, kind)
    if not item_bytes or shape != f"{samples},":
        raise UserError(f"{name} holds {dtype}[{shape.rstrip(',')}], expected {kind}[{samples}]")
    if member.size != len(start) + length + samples * item_bytes:
        raise UserError(
            f"{name} has {member.size} bytes, which is not what {samples} of {dtype} take"
        )
    array: Array = np.fromfile(file, dtype, samples)
    if zlib.crc32(array.view(np.uint8).data, zlib.crc32(start + header)) != member.crc:
        raise UserError(f"{name} does not match its checksum")
    return array


def _item_bytes(dtype: str, kind: str) -> int:
    """Return the bytes of an item, or 0 where numpy's `dtype` is not of the kind."""
    if kind != "S":
        return np.dtype(kind).itemsize if dtype == _TYPES[kind] else 0
    text = re.fullmatch(r"\|S([1-9][0-9]{0,3})", dtype)
    item_bytes = int(text[1]) if text else 0
    return item_bytes if item_bytes <= MOST_KEY_BYTES else 0

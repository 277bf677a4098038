"""The writer of every file that gantrain writes: a reader sees the old content or the new one,
never a part.
"""

import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gantrain.core.paths import describe_obstacle

_PARTIAL = ".{}.partial"  # hidden, and found by clean()
_TOKEN = re.compile("[0-9a-f]{16}")  # in the place of {}


class NoRegularFile(ValueError):
    """A path at which something else is than a regular file, such as a FIFO or a dangling link."""


@contextmanager
def replacing(path: Path, *, sync: bool = False) -> Iterator[Path]:
    """Give a hidden path beside `path` to write to; the file there takes the name `path` at the
    end.

    The file is removed where writing fails or is interrupted. Several processes may write the same
    `path`: the last one wins. sync: the content is on the disk before the name is, so that it also
    survives a power failure."""
    partial = path.with_name(_PARTIAL.format(secrets.token_hex(8)))
    try:
        yield partial
        if sync:
            flush(partial)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    if sync:
        flush(path.parent)


def write_bytes(path: Path, content: bytes, *, sync: bool = False) -> None:
    """Write a whole file. Raises OSError where the disk refuses; `path` is then as it was."""
    with replacing(path, sync=sync) as partial:
        partial.write_bytes(content)


def write_text(path: Path, text: str, *, sync: bool = False) -> None:
    """Write a whole file in UTF-8. Raises OSError where the disk refuses; `path` is then as it
    was.
    """
    write_bytes(path, text.encode(), sync=sync)


def flush(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def clean(folder: Path, idle_seconds: float = 0) -> None:
    """Remove the files and links that killed writers left, if nobody has touched them for so long.

    With 0 seconds nobody else may be writing to the folder.
    """
    latest = time.time() - idle_seconds
    for partial in folder.glob(_PARTIAL.format("*")):
        is_ours = _TOKEN.fullmatch(partial.name.removeprefix(".").removesuffix(".partial"))
        with suppress(FileNotFoundError):
            is_file = partial.is_file() or partial.is_symlink()
            if is_ours and is_file and partial.lstat().st_mtime <= latest:
                partial.unlink()


def read_bytes(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes. Raises OSError, or ValueError for
    another kind or size.

    A pipe or a device could be read without end.
    """
    if obstacle := describe_obstacle(path):
        raise NoRegularFile(f"{path} is {obstacle}")
    size = path.stat().st_size
    if size > limit:
        raise ValueError(f"{path} has {size:,} bytes, allowed: at most {limit:,}")
    return path.read_bytes()


def read_json(path: Path, limit: int) -> Any:
    """The content of a JSON file of at most `limit` bytes. Raises OSError or ValueError."""
    content = read_bytes(path, limit)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:  # a RecursionError comes of thousands of brackets
        raise ValueError(f"{path} is no JSON ({' '.join(str(error).split())})") from None


def sha256(path: Path) -> str:
    """The SHA-256 of a regular file, in hexadecimal. Raises OSError, or ValueError for another
    kind of file.
    """
    if obstacle := describe_obstacle(path):
        raise NoRegularFile(f"{path} is {obstacle}")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

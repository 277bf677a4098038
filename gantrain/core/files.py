"""Atomic writers of files and folders, the lock between processes, and bounded readers.

A reader of a file sees the old content or the new one, never a part. A folder appears whole or not
at all.
"""

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gantrain.core.errors import UserError
from gantrain.core.paths import describe_obstacle

_PARTIAL = ".{}.partial"  # hidden, and found by clean()
_TOKEN = re.compile("[0-9a-f]{16}")  # in the place of {}


class NoRegularFile(UserError):
    """A path at which something else is than a regular file, such as a FIFO or a dangling link."""


@contextmanager
def replacing(path: Path, *, sync: bool = False) -> Iterator[Path]:
    """Give a hidden path beside `path` to write to; that file takes the name `path` at the end.

    The file is removed where writing fails or is interrupted. Several processes may write the same
    `path`: the last one wins. sync: the content is on the disk before the name is, so that it also
    survives a power failure.
    """
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
    """Write a whole file in UTF-8. Raises OSError where the disk refuses; `path` then stays."""
    write_bytes(path, text.encode(), sync=sync)


def try_lock(descriptor: int, *, shared: bool = False, wait: bool = False) -> bool:
    """Lock an open file or folder, and return whether this process has the lock now.

    The system frees the lock when its holder dies. shared: several processes may hold it at the
    same time. wait: wait until it is free. Raises OSError on a file system without locks.
    """
    operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    if not wait:
        operation |= fcntl.LOCK_NB
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        return False
    return True


def unlock(descriptor: int) -> None:
    """Free the lock of an open file or folder, although forked processes have it open too."""
    with suppress(OSError):  # a file system without locks
        fcntl.flock(descriptor, fcntl.LOCK_UN)


@contextmanager
def file_lock(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold the lock file `path`, which is removed afterwards and free when its holder is killed.

    Raises UserError if another process holds it and `wait` is false. Processes that are forked
    while the lock is held do not keep it.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            has_lock = try_lock(descriptor, wait=wait)
        except OSError:
            os.close(descriptor)
            raise
        if not has_lock:
            os.close(descriptor)
            raise UserError(f"another process holds {path}; wait for it or stop it")
        # The previous holder may have removed the file between our open and our lock.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                break
        os.close(descriptor)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        unlock(descriptor)
        os.close(descriptor)


def refuse_existing(folder: Path) -> None:
    """Raise UserError if `folder` exists already, or if it cannot be made."""
    if folder.exists() or folder.is_symlink():
        raise UserError(f"{folder} exists and is never overwritten; remove it or name another")
    parent = next(parent for parent in folder.parents if parent.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise UserError(f"{folder} cannot be made: {parent} is not a folder that you can write to")


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Give a hidden folder beside `folder` to write into; it takes the name `folder` at the end.

    A killed process leaves no `folder`, and the next one removes what it left. Raises UserError if
    `folder` exists or another process is writing it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.parent / f".{folder.name}.partial"
    with file_lock(folder.parent / f".{folder.name}.lock", wait=False):
        refuse_existing(folder)
        # What lies there is a killed process's, since nobody else has the lock.
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            yield partial
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def create_once(folder: Path, marker: str, make: Callable[[], object]) -> None:
    """Call `make` where `folder` lacks the file `marker`: one process does, and others wait."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(folder.parent / f".{folder.name}.making", wait=True):
        if not (folder / marker).is_file():
            make()


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
    """Return the content of a regular file of at most `limit` bytes.

    Raises OSError, or UserError for another kind or size: a pipe or a device could be read without
    end.
    """
    obstacle = describe_obstacle(path)
    if obstacle:
        raise NoRegularFile(f"{path} is {obstacle}")
    size = path.stat().st_size
    if size > limit:
        raise UserError(f"{path} has {size:,} bytes, allowed: at most {limit:,}")
    return path.read_bytes()


def read_json(path: Path, limit: int) -> Any:
    """Return the content of a JSON file of at most `limit` bytes. Raises OSError or UserError."""
    content = read_bytes(path, limit)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:  # a RecursionError comes of thousands of brackets
        raise UserError(f"{path} is no JSON ({' '.join(str(error).split())})") from None


def sha256(path: Path) -> str:
    """Return the SHA-256 of a regular file, in hexadecimal.

    Raises OSError, or UserError for another kind of file.
    """
    obstacle = describe_obstacle(path)
    if obstacle:
        raise NoRegularFile(f"{path} is {obstacle}")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

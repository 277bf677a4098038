"""Packs of folders in the cache: the key of their files, and the removal of replaced packs.

A pack's name is FOLDER-OPTIONS-FILES: the folder's name, a digest of its place and of the options,
and a digest of its files. Packs that differ only in the last part are older states of one folder.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from gantrain.core import formats
from gantrain.core.files import file_lock
from gantrain.data.holding import taken_from_use
from gantrain.data.listing import list_names

_DIGITS = 16  # of a digest


def pack_folder(folder: Path, cache: Path, options: Mapping[str, object]) -> Path:
    """Return the place of the pack of a folder's present files.

    Raises UserError for a loop of links.
    """
    options_digest = _digest(f"{folder}\n{sorted(options.items())}")
    files_digest = _digest(describe_files(folder))
    return cache / f"{folder.name}-{options_digest}-{files_digest}"


def describe_files(folder: Path) -> str:
    """Return the name, size and time of each image below a folder, and what is skipped.

    Links are followed. The text changes when a file changes, comes, goes, or gets another name, and
    when the format of packs changes.
    """
    names, skipped = list_names(folder)
    root = os.path.join(folder, "")
    lines = [f"{formats.PACK} {formats.INDEX}"]
    for name in names:
        status = os.stat(root + name)
        lines.append(f"{name}\n{status.st_size} {status.st_mtime_ns}")
    return "\n".join([*lines, *skipped])


def describe_pack() -> bytes:
    """Return the content of `pack.json` in a pack: the format of packs."""
    return json.dumps({"format": formats.PACK}).encode() + b"\n"


def remove_replaced(target: Path) -> list[Path]:
    """Remove the packs of older states of a folder with the same options, and return them.

    A pack that a process has open is kept, to be removed later.
    """
    prefix = target.name.removesuffix(target.name.rpartition("-")[2])
    removed = []
    for pack in sorted(target.parent.glob(f"{_literal(prefix)}*")):
        if pack == target or not pack.is_dir():
            continue
        with (
            suppress(ValueError, OSError),
            file_lock(pack.parent / f".{pack.name}.making", wait=False),
            taken_from_use(pack),
        ):
            shutil.rmtree(pack)
            removed.append(pack)
    return removed


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:_DIGITS]


def _literal(name: str) -> str:
    """Return a pattern of `glob` that matches only this name."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)

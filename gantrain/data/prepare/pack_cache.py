"""Folders that are packed in the cache: the cache key of their files, and the removal of packs that
it replaces.

A pack's name is FOLDER-OPTIONS-FILES: the folder's name, a digest of its place and of the options,
and a digest of its files. Packs that differ in the last alone are older states of one folder."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from gantrain.core import formats
from gantrain.core.files import file_lock
from gantrain.data.holding import taken_from_use
from gantrain.data.listing import list_names

_DIGITS = 16  # of a digest


def pack_folder(folder: Path, cache: Path, options: Mapping[str, Any]) -> Path:
    """Return the place of the pack of a folder's present files. Raises ValueError for a loop of
    links.
    """
    about = f"{folder}\n{sorted(options.items())}"
    return cache / f"{folder.name}-{_digest(about)}-{_digest(describe_files(folder))}"


def describe_files(folder: Path) -> str:
    """Name, size and time of each image in a folder and the folders inside it, also through links;
    and what is skipped.

    Changes when a file changes, comes, goes, or gets another name. A change of the format changes
    it, too."""
    names, skipped = list_names(folder)
    root = os.path.join(folder, "")
    lines = [f"{formats.PACK} {formats.INDEX}"]
    for name in names:
        status = os.stat(root + name)
        lines.append(f"{name}\n{status.st_size} {status.st_mtime_ns}")
    return "\n".join([*lines, *skipped])


def describe_pack() -> bytes:
    """The content of `pack.json` in a pack: the format of what was packed."""
    return json.dumps({"format": formats.PACK}).encode() + b"\n"


def remove_replaced(target: Path) -> list[Path]:
    """Remove the packs of older states of the same folder with the same options; returns them.

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
    """A name as a pattern that matches it alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)

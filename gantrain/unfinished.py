"""The record of a translation that was cut short, by which the same command goes on and another one is refused."""

import contextlib
import errno
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from gantrain import files
from gantrain.console import say

_BYTES = 1 << 16
_STALE_SECONDS = 3600  # what a killed command left; a younger file may be another one's

Record = dict[str, str]


def describe(model: str, inputs: Iterable[Path]) -> Record:
    """Describe what the results of a command depend on.

    model: a digest of its weights and settings. inputs: the files, known by place, size and time of change.
    """
    digest = hashlib.sha256()
    for path in inputs:
        about = path.stat()
        line = f"{path.absolute()}\n{about.st_size} {about.st_mtime_ns}\n"
        digest.update(line.encode(errors="surrogateescape"))
    return {"model": model, "inputs": digest.hexdigest()}


def begin(folder: Path, record: Record, results: list[Path]) -> list[Path]:
    """Mark the folder until end(); returns those of the results that the same command has left there.

    Raises ValueError where there are results of another command, or where the folder can't be written.
    """
    existing = [result for result in results if result.exists()]
    if existing and not _is_of(folder, record):
        raise ValueError(f"--out: {existing[0]} exists ({len(existing)} in all); choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place in {result.parent for result in results}:
            files.clean(place, _STALE_SECONDS)
        files.write_text(_mark(folder, record), json.dumps(record, indent=1) + "\n")
    except OSError as e:
        raise ValueError(f"--out: cannot write {folder} ({e.strerror}); {advice(e)}") from None
    if existing:
        say(f"goes on with {folder}: {len(existing)} of {len(results)} results exist and are kept")
    return existing


def advice(error: OSError) -> str:
    """Return what helps after the error."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "make space, then the same command goes on"
    return "choose another folder"


def _mark(folder: Path, record: Record) -> Path:
    """Each command's own, since several may write other results into the folder at the same time."""
    digest = hashlib.sha256(json.dumps(record).encode()).hexdigest()
    return folder / f".unfinished-{digest[:16]}.json"


def _is_of(folder: Path, record: Record) -> bool:
    """Return whether the folder holds results of such a command, which was cut short."""
    try:
        return bool(files.read_json(_mark(folder, record), _BYTES) == record)
    except (OSError, ValueError):
        return False


def end(folder: Path, record: Record) -> None:
    """Remove the mark, and a folder that is empty without it."""
    _mark(folder, record).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()

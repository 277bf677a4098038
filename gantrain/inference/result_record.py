"""Record what made the results in a folder.

With the record, the same command skips existing results, and does not mix its own results with
those of another command.
"""

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gantrain.core import files, formats
from gantrain.core.console import say
from gantrain.core.errors import UserError

_NAME = ".translated.json"
_MOST_BYTES = 256 << 20
_STALE_SECONDS = 3600  # the age of a killed command's file; a younger one may be in use

# By a result's path in the folder: the digests of the command and of the input.
Entries = dict[str, list[str]]


def describe_input(paths: Iterable[Path]) -> str:
    """Return a digest of the paths, sizes and modification times of one input's files."""
    digest = hashlib.sha256()
    for path in paths:
        about = path.stat()
        line = f"{path.absolute()}\n{about.st_size} {about.st_mtime_ns}\n"
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()[:32]


def begin(folder: Path, command: str, inputs: Mapping[Path, str], overwrite: bool) -> list[Path]:
    """Record that a command makes these results; return those that exist and can be skipped.

    command: a digest of the model and of the options. inputs: by result, what describe_input
    returned. overwrite: remove existing results, whatever made them. Raises UserError where the
    folder can't be written, and for results of another command or of an input that has changed
    since.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place in {result.parent for result in inputs}:
            files.clean(place, _STALE_SECONDS)
        with _held(folder):
            entries = _read(folder)
            existing = [result for result in inputs if result.exists()]
            if overwrite:
                # First, since a command that is killed must not leave others' results as its own.
                for result in existing:
                    result.unlink()
            else:
                _check_same(
                    folder, entries, command, {result: inputs[result] for result in existing}
                )
            for result, digest in inputs.items():
                entries[_key(folder, result)] = [command, digest]
            _write(folder, entries)
    except OSError as e:
        raise UserError(f"--out: cannot write {folder} ({e.strerror}); {advice(e)}") from None
    if existing and overwrite:
        say(f"replaced: {len(existing)} of {len(inputs)} results were in {folder} already")
        return []
    if existing:
        say(
            f"skipped: {len(existing)} of {len(inputs)} results are in {folder} already;"
            " --overwrite makes them again"
        )
    return existing


def forget(folder: Path, results: Iterable[Path]) -> None:
    """Remove missing results from the record, and the folder if it is empty without a record."""
    with contextlib.suppress(OSError):
        with _held(folder):
            entries = _read(folder)
            for result in results:
                entries.pop(_key(folder, result), None)
            if entries:
                _write(folder, entries)
            else:
                (folder / _NAME).unlink(missing_ok=True)
        folder.rmdir()


def advice(error: OSError) -> str:
    """Return advice for the user after an error of the disk."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "make space, then the same command goes on"
    return "choose another folder"


def _check_same(folder: Path, entries: Entries, command: str, existing: Mapping[Path, str]) -> None:
    """Check that the same command made these results from the same inputs. Raises UserError."""
    problems: dict[Path, str] = {}
    for result, digest in existing.items():
        entry = entries.get(_key(folder, result))
        if entry is None:
            problems[result] = "no record says what made it"
        elif entry[0] != command:
            problems[result] = (
                "another checkpoint, other options or another precision made it (--precision fp32"
                " or bf16 states it)"
            )
        elif entry[1] != digest:
            problems[result] = "its input has changed since, or was another file"
    for result, reason in problems.items():
        count = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise UserError(
            f"--out: {result} exists{count}, and {reason}; choose another folder, or --overwrite to"
            " replace results"
        )


def _key(folder: Path, result: Path) -> str:
    return result.relative_to(folder).as_posix()


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Lock a folder's record, since several commands may write into the folder at the same time."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            files.try_lock(descriptor, wait=True)
        yield
    finally:
        files.unlock(descriptor)
        os.close(descriptor)


def _read(folder: Path) -> Entries:
    """Read the record; it is empty where the file is missing or damaged."""
    try:
        content = files.read_json(folder / _NAME, _MOST_BYTES)
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict) or content.get("format") != formats.RESULTS:
        return {}
    results = content.get("results")
    if not isinstance(results, dict):
        return {}
    return {name: entry for name, entry in results.items() if _is_entry(entry)}


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, list)
        and len(entry) == 2
        and all(isinstance(digest, str) for digest in entry)
    )


def _write(folder: Path, entries: Entries) -> None:
    content = {"format": formats.RESULTS, "results": entries}
    files.write_text(folder / _NAME, json.dumps(content, indent=0) + "\n")

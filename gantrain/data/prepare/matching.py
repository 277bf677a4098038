"""Which files make a sample: those that have one name in the folder of each field."""

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gantrain.core.paths import describe_obstacle
from gantrain.data.decode import EXTENSIONS
from gantrain.data.listing import is_ignored, list_images, matching_name, without_extension
from gantrain.data.prepare.layouts import FieldSpec, FieldSpecs
from gantrain.data.prepare.patterns import choose

# WebDataset takes a key up to the first dot of the last name in it. Dots in the folders' names do
# no harm there.
_ODD_IN_FOLDER = re.compile(r"[\\\s\x00-\x1f\x7f-\x9f]")
_ODD_IN_NAME = re.compile(r"[.\\\s\x00-\x1f\x7f-\x9f]")


@dataclass
class Matched:
    """The files of a folder, by sample.

    samples: files by member and by key, in the order of the keys. lines: one for each sample that
    lacks a file, each second file of a name, and each file that is no image. left_out: how many
    samples there could be besides, if the images of the field with most of them had all they need.
    renamed: a line for each sample whose key was taken. names: those of each member's images, by
    which they match."""

    samples: dict[str, dict[str, Path]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    left_out: int = 0
    renamed: list[str] = field(default_factory=list)
    names: dict[str, list[str]] = field(default_factory=dict)


def match(source: Path, parts: FieldSpecs) -> Matched:
    """The samples in the folder `source`. Raises ValueError for a loop of links."""
    members = {part.member: part for part in parts.values()}
    matched = Matched()
    matched.names = {member: [] for member in members}
    files_by_name: dict[str, dict[str, Path]] = {}
    for member, name, file in _named_files(source, members, matched.lines):
        matched.names[member].append(name)
        sample = files_by_name.setdefault(matching_name(name), {})
        other = sample.setdefault(member, file)
        if other != file:
            matched.lines.append(f"{file}: has the same name as {other.name}")
    for name in sorted(files_by_name, key=lambda name: (sample_key(name), name)):
        sample = files_by_name[name]
        missing = [f"no {member}" for member in members if member not in sample]
        if missing:
            found = ", ".join(str(file) for file in sample.values())
            matched.lines.append(f"{found}: {' and '.join(missing)}")
            continue
        key = _free_key(sample_key(name), matched.samples)
        if key != sample_key(name):
            matched.renamed.append(
                f"{name} has the key {key}, since another name has the key {sample_key(name)}"
            )
        matched.samples[key] = sample
    matched.left_out = max(len(names) for names in matched.names.values()) - len(matched.samples)
    return matched


def _free_key(key: str, taken: Container[str]) -> str:
    """Return the key, with a number behind it where another sample has it."""
    number = 2
    free = key
    while free in taken:
        free = f"{key}_{number}"
        number += 1
    return free


def sample_key(name: str) -> str:
    """The key of a sample from the sub-path of its files, which stays visible in it: `cam1/a.b`
    gives `cam1/a_b`.

    It never leads out of a folder, and WebDataset splits `KEY.MEMBER.EXTENSION` where the key ends.
    """
    *folders, last = matching_name(name).split("/")
    words = [*(_ODD_IN_FOLDER.sub("_", folder) for folder in folders), _ODD_IN_NAME.sub("_", last)]
    words[0] = words[0].lstrip("_") or "_"  # names that begin with two of them are WebDataset's own
    return "/".join(words)


def _named_files(
    source: Path, members: FieldSpecs, lines: list[str]
) -> Iterator[tuple[str, str, Path]]:
    """Member, name (by which the files of a sample match) and file of each image; a line for
    what is passed over.
    """
    by_files: dict[str, FieldSpecs] = {}
    for member, part in members.items():
        by_files.setdefault(part.files, {})[member] = part
    for files, here in by_files.items():
        if files == "*" or (files.endswith("/*") and files.count("*") == 1):
            yield from _below(source / files.removesuffix("*"), here, lines)
        else:
            (member,) = here
            for name, file in _like(source, here[member], lines):
                yield member, name, file


def _below(folder: Path, members: FieldSpecs, lines: list[str]) -> Iterator[tuple[str, str, Path]]:
    """The images of a folder and of the folders inside it, which belong to one member, or to
    several by patterns.
    """
    if not folder.is_dir():
        return
    listing = list_images(folder)
    lines += listing.skipped
    patterns = {member: part.pattern for member, part in members.items() if part.pattern}
    wanted = " or ".join(patterns.values())
    for name, file in listing.images.items():
        fitting = (
            choose(patterns, name) if patterns else (next(iter(members)), without_extension(name))
        )
        if fitting:
            yield *fitting, file
        else:
            lines.append(f"{file}: its name is not like {wanted} (--pattern)")


def _like(source: Path, part: FieldSpec, lines: list[str]) -> Iterator[tuple[str, Path]]:
    """The images that a published layout's pattern names."""
    ending = part.files.rpartition("*")[2]
    for file in sorted(source.glob(part.files)):
        if any(is_ignored(name) for name in file.relative_to(source).parts):
            continue
        obstacle = describe_obstacle(file)
        if obstacle:
            lines.append(f"{file}: {obstacle}")
        elif file.suffix.lower()[1:] not in EXTENSIONS:
            lines.append(f"{file}: not one of {', '.join(EXTENSIONS)}")
        elif file.is_file():
            yield file.name.removesuffix(ending or file.suffix), file

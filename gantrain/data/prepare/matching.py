"""Match the files of samples: a sample's files have one name in the folder of each field."""

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gantrain.core.paths import describe_obstacle
from gantrain.data.formats.format_table import extensions
from gantrain.data.listing import is_ignored, list_images, matching_name, without_extension
from gantrain.data.prepare.layouts import FieldSpec, FieldSpecs
from gantrain.data.prepare.patterns import choose

# WebDataset takes a key up to the first dot of its last name. Dots in folders' names do no harm.
_ODD_IN_FOLDER = re.compile(r"[\\\s\x00-\x1f\x7f-\x9f]")
_ODD_IN_NAME = re.compile(r"[.\\\s\x00-\x1f\x7f-\x9f]")


@dataclass
class Matched:
    """The files of a folder, by sample.

    samples: files by key and by member, in the order of the keys. lines: one for each sample that
    lacks a file, each second file of a name, and each file that is no image. left_out: how many
    more samples there would be if each image of the field with most images had its partners.
    renamed: a line for each sample whose key was taken. names: of each member's images, by which
    they match.
    """

    samples: dict[str, dict[str, Path]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    left_out: int = 0
    renamed: list[str] = field(default_factory=list)
    names: dict[str, list[str]] = field(default_factory=dict)


def match(source: Path, field_specs: FieldSpecs) -> Matched:
    """Return the samples in the folder `source`. Raises UserError for a loop of links."""
    members = {spec.member: spec for spec in field_specs.values()}
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
            present = ", ".join(map(str, sample.values()))
            matched.lines.append(f"{present}: {' and '.join(missing)}")
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
    """Return the key of a sample from the sub-path of its files, such as `cam1/a_b` of `cam1/a.b`.

    A key never leads out of a folder. WebDataset splits `KEY.MEMBER.EXTENSION` where the key ends.
    """
    *folders, last = matching_name(name).split("/")
    words = [*(_ODD_IN_FOLDER.sub("_", folder) for folder in folders), _ODD_IN_NAME.sub("_", last)]
    words[0] = words[0].lstrip("_") or "_"  # names that begin with two of them are WebDataset's own
    return "/".join(words)


def _named_files(
    source: Path, members: FieldSpecs, lines: list[str]
) -> Iterator[tuple[str, str, Path]]:
    """Yield the member, the name and the file of each image.

    The files of a sample match by the name. lines: takes a line for each file that is left out.
    """
    by_pattern: dict[str, FieldSpecs] = {}
    for member, spec in members.items():
        by_pattern.setdefault(spec.files, {})[member] = spec
    for pattern, own_members in by_pattern.items():
        if pattern == "*" or (pattern.endswith("/*") and pattern.count("*") == 1):
            yield from _below(source / pattern.removesuffix("*"), own_members, lines)
        else:
            (member,) = own_members
            for name, file in _like(source, own_members[member], lines):
                yield member, name, file


def _below(folder: Path, members: FieldSpecs, lines: list[str]) -> Iterator[tuple[str, str, Path]]:
    """Yield the images of a folder and of the folders inside it.

    They belong to one member, or to several members by their patterns.
    """
    if not folder.is_dir():
        return
    listing = list_images(folder)
    lines += listing.skipped
    patterns = {member: spec.pattern for member, spec in members.items() if spec.pattern}
    if not patterns:
        (member,) = members
        for name, file in listing.images.items():
            yield member, without_extension(name), file
        return
    allowed = " or ".join(patterns.values())
    for name, file in listing.images.items():
        member_and_name = choose(patterns, name)
        if member_and_name:
            yield *member_and_name, file
        else:
            lines.append(f"{file}: its name is not like {allowed} (--pattern)")


def _like(source: Path, spec: FieldSpec, lines: list[str]) -> Iterator[tuple[str, Path]]:
    """Yield the name and the file of each image that a published layout's pattern fits."""
    ending = spec.files.rpartition("*")[2]
    for file in sorted(source.glob(spec.files)):
        if any(is_ignored(name) for name in file.relative_to(source).parts):
            continue
        obstacle = describe_obstacle(file)
        if obstacle:
            lines.append(f"{file}: {obstacle}")
        elif file.suffix.lower()[1:] not in extensions():
            lines.append(f"{file}: not one of {', '.join(extensions())}")
        elif file.is_file():
            yield file.name.removesuffix(ending or file.suffix), file

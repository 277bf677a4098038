"""How folders of images are laid out: which files make a sample, and which fields it has."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from PIL import Image

from gantrain.data.decode import EXTENSIONS, FORMATS, Kind

_PROBED = 8  # images whose proportions tell side-by-side pairs


@dataclass(frozen=True)
class Part:
    """A field as a layout knows it before any file is read."""

    member: str
    half: Literal[0, 1] | None = None
    kind: Kind = "image"
    classes: int | None = None
    palette: list[tuple[int, int, int]] | None = None


Parts = dict[str, Part]  # by field


@dataclass(frozen=True)
class Candidate:
    """A sample to be: its key, and its file by member."""

    key: str
    files: dict[str, Path]


@dataclass(frozen=True)
class Found:
    """Fields by name, samples in their order, and one line for each file that is left over."""

    fields: Parts
    samples: list[Candidate]
    unmatched: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Layout:
    """A way to lay out folders. `find(source, split)` raises ValueError where nothing is found."""

    about: str
    recognise: Callable[[Path], bool]
    find: Callable[[Path, str], Found]


def natural(name: str) -> tuple[list[str | int], str]:
    """Sorting key in which 2 comes before 10."""
    parts = re.split(r"(\d+)", name)
    return [int(p) if i % 2 else p for i, p in enumerate(parts)], name


def key_of(stem: str) -> str:
    """A WebDataset key: dots would end it, and paths have no business in a tar."""
    return re.sub(r"[./\\\s]", "_", stem).lstrip("_") or "_"


def images_in(folder: Path) -> tuple[list[Path], list[str]]:
    """The readable images directly in a folder, sorted, and a line for each other file."""
    files = [f for f in folder.iterdir() if f.is_file() and not f.name.startswith(".")]
    files.sort(key=lambda f: natural(f.name))
    images = [f for f in files if f.suffix.lower()[1:] in EXTENSIONS]
    others = sorted(set(files) - set(images))
    return images, [f"{f}: not one of {', '.join(EXTENSIONS)}" for f in others]


def match(folders: Mapping[str, Iterable[tuple[str, Path]]]) -> tuple[list[Candidate], list[str]]:
    """Samples of the (stem, file) pairs that every member has; a line for each of the others."""
    by_key: dict[str, dict[str, Path]] = {}
    unmatched = []
    for member, files in folders.items():
        for stem, file in files:
            sample = by_key.setdefault(key_of(stem), {})
            if member in sample:
                unmatched.append(f"{file}: has the same name as {sample[member].name}")
            else:
                sample[member] = file
    samples = []
    for key, found in sorted(by_key.items(), key=lambda item: natural(item[0])):
        missing = [member for member in folders if member not in found]
        if missing:
            unmatched += [f"{file}: no {' and no '.join(missing)}" for file in found.values()]
        else:
            samples.append(Candidate(key, found))
    return samples, unmatched


def _single(member: str, fields: Parts) -> Callable[[Path, str], Found]:
    def find(source: Path, split: str) -> Found:
        images, others = images_in(source)
        if not images:
            raise ValueError(f"{source} holds no images ({', '.join(EXTENSIONS)}) itself")
        samples, unmatched = match({member: [(f.stem, f) for f in images]})
        return Found(fields, samples, others + unmatched)

    return find


def _side_by_side(source: Path) -> bool:
    doubles = []
    for file in images_in(source)[0][:_PROBED]:
        try:
            with Image.open(file, formats=FORMATS) as image:
                doubles.append(image.width == 2 * image.height)
        except OSError:  # found and listed when every file is checked
            doubles.append(True)
    return bool(doubles) and all(doubles)


def _folders_in(source: Path, split: str) -> dict[str, Path]:
    """Folders of images by field."""
    ours = {letter: source / f"{split}{letter}" for letter in "AB"}
    if all(folder.is_dir() for folder in ours.values()):  # trainA, trainB, testA, testB
        return ours
    inside = sorted(f for f in source.iterdir() if f.is_dir() and not f.name.startswith("."))
    return {folder.name: folder for folder in inside if images_in(folder)[0]}


def _find_folders(source: Path, split: str) -> Found:
    folders = _folders_in(source, split)
    names = ", ".join(folders) or "none"
    if len(folders) < 2:
        raise ValueError(f"{source}: two or more folders of images are needed, found {names}")
    if set(folders) <= {"train", "val", "valid", "validation", "test"}:
        raise ValueError(f"{source}: {names} are splits, not fields; prepare each by itself")
    listed, others = {}, []
    for name, folder in folders.items():
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
            raise ValueError(
                f"{folder}: a folder's name becomes a field's; rename it to letters, digits, "
                "'_' and '-'"
            )
        files, lines = images_in(folder)
        listed[name] = [(f.stem, f) for f in files]
        others += lines
    samples, unmatched = match(listed)
    if not samples:
        raise ValueError(
            f"{source}: no file name is in all of {names}, so nothing matches; for unpaired images "
            "prepare each folder by itself with --as images"
        )
    return Found({name: Part(name) for name in folders}, samples, others + unmatched)


PAIRS = Layout(
    "one folder of images, each two halves side by side (fields: left, right)",
    _side_by_side,
    _single("pair", {"left": Part("pair", 0), "right": Part("pair", 1)}),
)
IMAGES = Layout(
    "one folder of single images (field: image)",
    lambda source: False,  # told from pairs by the user only: halving wrongly would go unnoticed
    _single("image", {"image": Part("image")}),
)
FOLDERS = Layout(
    "two or more folders of images with the same names (fields: the folders' names)",
    lambda source: len(_folders_in(source, "train")) > 1,
    _find_folders,
)

"""How images lie in folders. A layout is a function (folder, split) -> the fields' `Part`s."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from PIL import Image

from gantrain.data.decode import EXTENSIONS, FORMATS, Colour, Kind
from gantrain.data.index import NAME

_PROBED = 8  # images whose proportions tell side-by-side pairs
_SPLITS = {"train", "val", "valid", "validation", "test"}


class Part(NamedTuple):
    """A field before any file is read.

    files: a pattern below the folder; what its last `*` stands for is the sample's key. classes:
    None for the highest id + 1. ignore: as a `Field`'s. size: (height, width) in pixels to resize to. colors: by class
    id, where the files hold these instead of ids.
    """

    member: str
    files: str = "*"
    half: Literal[0, 1] | None = None
    kind: Kind = "image"
    classes: int | None = None
    ignore: int | None = None
    size: tuple[int, int] | None = None
    colors: tuple[Colour, ...] | None = None


class File(Protocol):
    """A path, or a file in a tar; `str` names it for people."""

    def read_bytes(self) -> bytes: ...


Parts = dict[str, Part]  # by field
Files = Mapping[str, File]  # of one sample, by member
Layout = Callable[[Path, str], Parts]


def pairs(source: Path, split: str) -> Parts:
    """One folder of images, each two halves side by side."""
    return {"left": Part("pair", half=0), "right": Part("pair", half=1)}


def images(source: Path, split: str) -> Parts:
    """One folder of single images."""
    return {"image": Part("image")}


def folders(source: Path, split: str) -> Parts:
    """Folders of images with the same names, a field each; or trainA and trainB, by `split`."""
    if all((source / f"{split}{letter}").is_dir() for letter in "AB"):
        return {letter: Part(letter, f"{split}{letter}/*") for letter in "AB"}
    names = [folder.name for folder in sorted(source.iterdir()) if _images_in(folder)]
    found = ", ".join(names) or "none"
    if len(names) < 2:
        raise ValueError(f"{source}: two or more folders of images are needed, found {found}")
    if set(names) <= _SPLITS:
        raise ValueError(f"{source}: {found} are splits, not fields; prepare each by itself")
    if odd := [name for name in names if not re.fullmatch(NAME, name)]:
        reason = "a folder's name becomes a field's; rename it to letters, digits, '_' and '-'"
        raise ValueError(f"{source / odd[0]}: {reason}")
    return {name: Part(name, f"{name}/*") for name in names}


def published(
    image: str, label: str, classes: int, ignore: int | None = None, instances: str = "", **called: str
) -> Layout:
    """Photographs and class ids as a data set is unpacked, and ids of instances where there are files of them.

    {split} in a pattern is the split, or what it is called.
    """

    def layout(source: Path, split: str) -> Parts:
        files = [pattern.format(split=called.get(split, split)) for pattern in (image, label, instances)]
        parts = {
            "image": Part("image", files[0]),
            "label": Part("label", files[1], kind="label", classes=classes, ignore=ignore),
        }
        there = instances and any(source.glob(files[2]))
        return parts | {"instance": Part("instance", files[2], kind="instances")} if there else parts

    return layout


def recognise(source: Path) -> str:
    """The name of the layout that `source` seems to have; raises ValueError where it isn't sure."""
    if all((source / folder).is_dir() for folder in ("leftImg8bit", "gtFine")):
        return "cityscapes"
    found, inside = _images_in(source), sorted(source.iterdir())
    paired = bool(found) and all(_twice_as_wide(file) for file in found[:_PROBED])
    several = sum(bool(_images_in(folder)) for folder in inside) > 1
    if paired != several:
        return "pairs" if paired else "folders"
    if found:  # halving single images wrongly would go unnoticed
        choice = "say which with --as pairs, --as folders or --as images"
        raise ValueError(f"{source} could hold side-by-side pairs, folders or single images; {choice}")
    listed = ", ".join(f.name for f in inside[:8]) or "nothing"
    reason = f"holds neither images nor two or more folders of images (found: {listed})"
    raise ValueError(f"{source} {reason}; name the folder that does, or its layout with --as")


def match(source: Path, parts: Parts) -> tuple[dict[str, dict[str, Path]], list[str]]:
    """Samples by key, with one file of each member, and a line for each file left over."""
    patterns = {part.member: part.files for part in parts.values()}
    found: dict[str, dict[str, Path]] = {}
    unmatched = []
    for member, pattern in patterns.items():
        ending = pattern.rpartition("*")[2]
        for file in sorted(source.glob(pattern)):
            if file.name.startswith(".") or not file.is_file():
                continue
            if file.suffix.lower()[1:] not in EXTENSIONS:
                unmatched.append(f"{file}: not one of {', '.join(EXTENSIONS)}")
                continue
            stem = file.name.removesuffix(ending or file.suffix)
            # Dots would end a WebDataset key, and paths have no business in a tar.
            sample = found.setdefault(re.sub(r"[.\\\s]", "_", stem).lstrip("_") or "_", {})
            if sample.setdefault(member, file) != file:
                unmatched.append(f"{file}: has the same name as {sample[member].name}")
    samples = {}
    for key in sorted(found):
        if missing := [member for member in patterns if member not in found[key]]:
            lacks = " and ".join(f"no {member}" for member in missing)
            unmatched += [f"{file}: {lacks}" for file in found[key].values()]
        else:
            samples[key] = found[key]
    return samples, unmatched


def _images_in(folder: Path) -> list[Path]:
    """The images directly in a folder, sorted; of a file or a hidden folder none."""
    if folder.name.startswith(".") or not folder.is_dir():
        return []
    return sorted(f for f in folder.glob("[!.]*") if f.suffix.lower()[1:] in EXTENSIONS)


def _twice_as_wide(file: Path) -> bool:
    try:
        with Image.open(file, formats=FORMATS) as image:
            return image.width == 2 * image.height
    except OSError:  # found and listed when every file is checked
        return True

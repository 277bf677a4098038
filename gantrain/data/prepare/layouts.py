"""How images lie in folders. A layout is a function (folder, split) -> the fields' `Part`s."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from gantrain.data.decode import FORMATS, Colour, Kind
from gantrain.data.headers import open_header
from gantrain.data.index import NAME
from gantrain.data.listing import holds_images, list_images, without_extension

_PROBED = 8  # images whose proportions tell side-by-side pairs
_SPLITS = {"train", "val", "valid", "validation", "test"}
# What stands behind the split in the names of two folders that belong together, and a third one
# that may be there.
SIDES = (("A", "B"), ("_A", "_B", "_inst"), ("_label", "_img", "_inst"))


class FieldSpec(NamedTuple):
    """A field before any file is read.

    files: a pattern below the folder; what its last `*` stands for is the sample's key. FOLDER/*
    takes images of folders inside FOLDER, too. pattern: what the name of a file looks like, with {}
    for the key. classes: None for the highest id + 1. ignore: as a `Field`'s. size: (height, width)
    in pixels to resize to. colors: by class id, where the files hold these instead of ids."""

    member: str
    files: str = "*"
    half: Literal[0, 1] | None = None
    kind: Kind = "image"
    classes: int | None = None
    ignore: int | None = None
    size: tuple[int, int] | None = None
    colors: tuple[Colour, ...] | None = None
    pattern: str | None = None


class File(Protocol):
    """A path, or a file in a tar; `str` names it for people."""

    def read_bytes(self) -> bytes: ...


FieldSpecs = dict[str, FieldSpec]  # by field
Files = Mapping[str, File]  # of one sample, by member
Layout = Callable[[Path, str], FieldSpecs]


class UnclearLayout(ValueError):
    """A folder whose layout is not recognised.

    reason: what is there. options: those of `prepare` that may fit, none where nothing fits. The
    message has both."""

    def __init__(self, reason: str, advice: str, options: Sequence[str] = ()) -> None:
        super().__init__(f"{reason}; {advice}")
        self.reason = reason
        self.options = list(options)


def pairs(source: Path, split: str) -> FieldSpecs:
    """One folder of images, each two halves side by side."""
    _refuse_splits(source)
    return {"left": FieldSpec("pair", half=0), "right": FieldSpec("pair", half=1)}


def images(source: Path, split: str) -> FieldSpecs:
    """One folder of single images."""
    _refuse_splits(source)
    return {"image": FieldSpec("image")}


def folders(source: Path, split: str) -> FieldSpecs:
    """Folders of images with the same names, a field each; or trainA and trainB, by `split`."""
    sides = sides_of_split(source, split)
    if sides:
        return {field: FieldSpec(field, f"{name}/*") for field, name in sides.items()}
    other_splits = [
        name for name in sorted(_SPLITS) if name != split and sides_of_split(source, name)
    ]
    if other_splits:
        raise ValueError(
            f"{source}: found no split {split}, but {', '.join(other_splits)}; give one with"
            " --split"
        )
    names = [folder.name for folder in sorted(source.iterdir()) if holds_images(folder)]
    found = ", ".join(names) or "none"
    if len(names) < 2:
        raise ValueError(f"{source}: two or more folders of images are needed, found {found}")
    if set(names) <= _SPLITS:
        example = "train" if "train" in names else names[0]
        raise ValueError(
            f"{source}: {found} are splits, not fields; give one of them, such as"
            f" {source / example}"
        )
    if odd := [name for name in names if not re.fullmatch(NAME, name)]:
        reason = "a folder's name becomes a field's; rename it to letters, digits, '_' and '-'"
        raise ValueError(f"{source / odd[0]}: {reason}")
    for name in names:
        _refuse_splits(source / name)
    return {name: FieldSpec(name, f"{name}/*") for name in names}


def sides_of_split(source: Path, split: str) -> dict[str, str]:
    """The folders of a split by field, where their names hold it: trainA and trainB, or pix2pixHD's
    train_A, train_B.

    Also train_label, train_img and train_inst. The fields are called A and B, or label, img and
    inst. Of folders with other names the result is empty."""
    for endings in SIDES:
        there = [ending for ending in endings if (source / f"{split}{ending}").is_dir()]
        if set(endings[:2]) <= set(there):
            return {ending.removeprefix("_"): f"{split}{ending}" for ending in there}
    return {}


def common_endings(names: Iterable[str]) -> list[str]:
    """Return the endings by which one folder seems to hold several fields, such as `label` of
    `7_label.png`.

    names: the files' sub-paths. Each ending follows an underscore, and all of them come with the
    same beginnings, of which there are two or more. Without such endings the result is empty."""
    beginnings: dict[str, set[str]] = {}
    for name in names:
        beginning, _, ending = without_extension(name).rpartition("_")
        if beginning:
            beginnings.setdefault(ending, set()).add(beginning)
    common = set.intersection(*beginnings.values()) if beginnings else set()
    all_alike = all(found == common for found in beginnings.values())
    return sorted(beginnings) if all_alike and len(beginnings) > 1 and len(common) > 1 else []


def _refuse_splits(source: Path) -> None:
    """Raises ValueError where a folder that is read with all folders inside it holds a split in
    each of several.
    """
    splits = [
        folder.name
        for folder in sorted(source.iterdir())
        if folder.name in _SPLITS and holds_images(folder)
    ]
    if len(splits) > 1:
        advice = (
            f"give one of them, such as {source / splits[0]}, or move each split into a folder of"
            " its own"
        )
        raise ValueError(
            f"{source} holds the splits {', '.join(splits)}, which would be mixed; {advice}"
        )


def published(
    image: str,
    label: str,
    classes: int,
    ignore: int | None = None,
    instances: str = "",
    **called: str,
) -> Layout:
    """Photographs and class ids as a data set is unpacked, and ids of instances where there are
    files of them.

    {split} in a pattern is the split, or what it is called.
    """

    def layout(source: Path, split: str) -> FieldSpecs:
        files = [
            pattern.format(split=called.get(split, split)) for pattern in (image, label, instances)
        ]
        parts = {
            "image": FieldSpec("image", files[0]),
            "label": FieldSpec("label", files[1], kind="label", classes=classes, ignore=ignore),
        }
        there = instances and any(source.glob(files[2]))
        return (
            parts | {"instance": FieldSpec("instance", files[2], kind="instances")}
            if there
            else parts
        )

    return layout


LAYOUTS: dict[str, Layout] = {
    "pairs": pairs,
    "folders": folders,
    "images": images,
    # 34, the licence plate, is -1 there and never comes.
    "cityscapes": published(
        "leftImg8bit/{split}/*/*_leftImg8bit.png",
        "gtFine/{split}/*/*_gtFine_labelIds.png",
        classes=35,
        instances="gtFine/{split}/*/*_gtFine_instanceIds.png",
    ),
    "camvid": published("{split}/*", "{split}annot/*", classes=12),  # the last one is void
    # 0 is what is none of the 150.
    "ade20k": published(
        "images/{split}/*", "annotations/{split}/*", classes=151, train="training", val="validation"
    ),
    # COCO-stuff's archive has no ids of instances: they are a user's own.
    "coco": published(
        "images/{split}2017/*",
        "annotations/{split}2017/*",
        classes=183,
        ignore=255,
        instances="instances/{split}2017/*",
    ),
}


def recognise(source: Path) -> str:
    """The name of the layout that `source` seems to have; raises ValueError where it isn't sure."""
    if is_cityscapes(source):
        return "cityscapes"
    inside = sorted(source.iterdir())
    own_images = list_images(source, recursive=False).images
    has_own_images = bool(own_images)
    # Those of the folders inside it, too, since all of them would be cut into halves.
    paired = has_own_images and _look_like_pairs(source)
    several = sum(holds_images(folder) for folder in inside) > 1
    if paired != several:
        return "pairs" if paired else "folders"
    if has_own_images:  # halving single images wrongly would go unnoticed
        options = ["--as pairs", "--as folders", "--as images"]
        choice = "say which with --as pairs, --as folders or --as images"
        endings = common_endings(own_images)
        if endings:
            patterns = " ".join(f"--pattern {ending}={{}}_{ending}" for ending in endings)
            choice += f"; or, as the endings of names say, with {patterns}"
            options.insert(0, patterns)
        reason = f"{source} could hold side-by-side pairs, folders or single images"
        raise UnclearLayout(reason, choice, options)
    listed = ", ".join(f.name for f in inside[:8]) or "nothing"
    reason = f"holds neither images nor two or more folders of images (found: {listed})"
    raise UnclearLayout(f"{source} {reason}", "name the folder that does, or its layout with --as")


def is_cityscapes(source: Path) -> bool:
    """Return whether a folder holds Cityscapes as it is unpacked."""
    return all((source / folder).is_dir() for folder in ("leftImg8bit", "gtFine"))


def _look_like_pairs(source: Path) -> bool:
    """Return whether images from all over the folder are twice as wide as high."""
    files = list(list_images(source).images.values())
    step = max(1, len(files) // _PROBED)
    return all(_twice_as_wide(file) for file in files[::step])


def _twice_as_wide(file: Path) -> bool:
    try:
        with open_header(file, FORMATS) as image:
            return image.width == 2 * image.height
    except (OSError, ValueError):  # found and listed when every file is checked
        return True

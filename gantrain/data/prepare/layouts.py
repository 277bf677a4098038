"""Layouts of images in folders: functions (folder, split) -> the fields' `FieldSpec`s."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from gantrain.core.errors import UserError
from gantrain.data.field import NAME
from gantrain.data.formats.pillow_formats import PILLOW_NAMES
from gantrain.data.headers import open_header
from gantrain.data.kinds.kind import Colour
from gantrain.data.listing import holds_images, list_images, without_extension

_PROBED = 8  # images whose proportions show whether they are side-by-side pairs
_SPLITS = {"train", "val", "valid", "validation", "test"}
# The endings, behind the split, of the names of two folders that belong together, and of a third
# folder that may be there.
SIDES = (("A", "B"), ("_A", "_B", "_inst"), ("_label", "_img", "_inst"))


class FieldSpec(NamedTuple):
    """The description of a field before any file is read.

    files: a pattern below the folder, whose last `*` stands for the sample's key. FOLDER/* takes
    images of folders inside FOLDER, too. pattern: how a file is named, with {} for the key.
    classes: None for the highest id + 1. ignore: as a `Field`'s. size: (height, width) in pixels to
    resize to. colors: by class id, where the files hold colours instead of ids.
    """

    member: str
    files: str = "*"
    half: Literal[0, 1] | None = None
    kind: str = "image"
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


class UnclearLayout(UserError):
    """A folder whose layout is not recognised.

    reason: a description of the folder. options: those of `prepare` that may fit. The message is
    the reason with the advice.
    """

    def __init__(self, reason: str, advice: str, options: Sequence[str] = ()) -> None:
        super().__init__(f"{reason}; {advice}")
        self.reason = reason
        self.options = list(options)


def pairs(source: Path, split: str) -> FieldSpecs:
    """Describe a folder of images that each hold two halves side by side."""
    _refuse_splits(source)
    return {"left": FieldSpec("pair", half=0), "right": FieldSpec("pair", half=1)}


def images(source: Path, split: str) -> FieldSpecs:
    """Describe a folder of single images."""
    _refuse_splits(source)
    return {"image": FieldSpec("image")}


def folders(source: Path, split: str) -> FieldSpecs:
    """Describe folders of images with the same names, a field each; or trainA and trainB."""
    sides = sides_of_split(source, split)
    if sides:
        return {field: FieldSpec(field, f"{name}/*") for field, name in sides.items()}
    other_splits = [
        name for name in sorted(_SPLITS) if name != split and sides_of_split(source, name)
    ]
    if other_splits:
        raise UserError(
            f"{source}: found no split {split}, but {', '.join(other_splits)}; give one with"
            " --split"
        )
    names = [folder.name for folder in sorted(source.iterdir()) if holds_images(folder)]
    listed = ", ".join(names) or "none"
    if len(names) < 2:
        raise UserError(f"{source}: two or more folders of images are needed, found {listed}")
    if set(names) <= _SPLITS:
        example = "train" if "train" in names else names[0]
        raise UserError(
            f"{source}: {listed} are splits, not fields; give one of them, such as"
            f" {source / example}"
        )
    for name in names:
        if not re.fullmatch(NAME, name):
            reason = "a folder's name becomes a field's; rename it to letters, digits, '_' and '-'"
            raise UserError(f"{source / name}: {reason}")
    for name in names:
        _refuse_splits(source / name)
    return {name: FieldSpec(name, f"{name}/*") for name in names}


def sides_of_split(source: Path, split: str) -> dict[str, str]:
    """Return the folders of a split by field, where their names hold the split.

    They are trainA and trainB (CycleGAN), or pix2pixHD's train_A and train_B, or train_label,
    train_img and train_inst. The fields are called A and B, or label, img and inst. The result is
    empty where there are no such folders.
    """
    for endings in SIDES:
        present = [ending for ending in endings if (source / f"{split}{ending}").is_dir()]
        if set(endings[:2]) <= set(present):
            return {ending.removeprefix("_"): f"{split}{ending}" for ending in present}
    return {}


def common_endings(names: Iterable[str]) -> list[str]:
    """Return the endings by which one folder seems to hold several fields.

    An example is `label` in `7_label.png`. names: the files' sub-paths. Each ending follows an
    underscore, and all of them come with the same beginnings, of which there are two or more. The
    result is empty where there are no such endings.
    """
    beginnings: dict[str, set[str]] = {}
    for name in names:
        beginning, _, ending = without_extension(name).rpartition("_")
        if beginning:
            beginnings.setdefault(ending, set()).add(beginning)
    if len(beginnings) < 2:
        return []
    common = set.intersection(*beginnings.values())
    are_equal = all(own == common for own in beginnings.values())
    return sorted(beginnings) if are_equal and len(common) > 1 else []


def _refuse_splits(source: Path) -> None:
    """Raises UserError where several folders inside `source` hold a split each.

    All of them would be read as one data set.
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
        raise UserError(
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
    """Return the layout of a published data set as it is unpacked.

    image, label, instances: patterns of photographs, of class ids, and of ids of instances, which
    need not be there. {split} in a pattern stands for the split, or for its name in `called`.
    """

    def layout(source: Path, split: str) -> FieldSpecs:
        name = called.get(split, split)
        image_files = image.format(split=name)
        label_files = label.format(split=name)
        instance_files = instances.format(split=name)
        field_specs = {
            "image": FieldSpec("image", image_files),
            "label": FieldSpec("label", label_files, kind="label", classes=classes, ignore=ignore),
        }
        if instance_files and any(source.glob(instance_files)):
            field_specs["instance"] = FieldSpec("instance", instance_files, kind="instances")
        return field_specs

    return layout


LAYOUTS: dict[str, Layout] = {
    "pairs": pairs,
    "folders": folders,
    "images": images,
    # Id 34, the licence plate, is -1 in the files and never occurs.
    "cityscapes": published(
        "leftImg8bit/{split}/*/*_leftImg8bit.png",
        "gtFine/{split}/*/*_gtFine_labelIds.png",
        classes=35,
        instances="gtFine/{split}/*/*_gtFine_instanceIds.png",
    ),
    "camvid": published("{split}/*", "{split}annot/*", classes=12),  # the last class is void
    # Id 0 stands for everything else than the 150 classes.
    "ade20k": published(
        "images/{split}/*", "annotations/{split}/*", classes=151, train="training", val="validation"
    ),
    # COCO-stuff's archive has no ids of instances; a user may add files of them.
    "coco": published(
        "images/{split}2017/*",
        "annotations/{split}2017/*",
        classes=183,
        ignore=255,
        instances="instances/{split}2017/*",
    ),
}


def recognise(source: Path) -> str:
    """Return the name of the layout that `source` has. Raises UnclearLayout where it is unclear."""
    if is_cityscapes(source):
        return "cityscapes"
    inside = sorted(source.iterdir())
    own_images = list_images(source, recursive=False).images
    has_own_images = bool(own_images)
    # The images of the folders inside count too, since all of them would be cut into halves.
    are_pairs = has_own_images and _look_like_pairs(source)
    has_several_folders = sum(holds_images(folder) for folder in inside) > 1
    if are_pairs != has_several_folders:
        return "pairs" if are_pairs else "folders"
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
        with open_header(file, PILLOW_NAMES) as image:
            return image.width == 2 * image.height
    except (OSError, ValueError):  # the check of every file reports it
        return True

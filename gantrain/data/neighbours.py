"""The held-out data and the test data beside `data.train`: where `data.validation=auto` looks."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from gantrain.data.listing import holds_images
from gantrain.data.prepare.layouts import SIDES, is_cityscapes, sides_of_split
from gantrain.data.splits import SYNTHETIC
from gantrain.data.urls import is_url

_TRAIN = "train"
# The folders of a training split: train itself, and trainA and the like.
_TRAIN_NAMES = (_TRAIN, *(_TRAIN + ending for endings in SIDES for ending in endings))


class Neighbour(NamedTuple):
    """A split that lies beside the training data, as two keys of `data` name it.

    place: the folder. target: of two sets, the folder of the targets, or None where `place` holds
    both.
    """

    place: str
    target: str | None


def find_neighbour(
    splits: Sequence[str], train: str | None, train_target: str | None
) -> Neighbour | None:
    """Return the first of the splits that lies beside the training data, or None.

    train, train_target: `data.train` and `data.train_target`. For a folder with trainA and trainB
    inside (or train_A and train_B, or train_label and train_img) it is the same folder, with valA
    and valB; for Cityscapes as it is unpacked, too. Of DIR/train, DIR/train/FIELD and DIR/trainA it
    is the folder in which `train` has the split's name. It has to hold images or a data set.
    Nothing is looked for beside a URL or drawn images.
    """
    if train is None or train == SYNTHETIC or is_url(train):
        return None
    for split in splits:
        # Opening the training data reports a folder that cannot be read.
        with suppress(OSError):
            neighbour = _find_split(split, train, train_target)
            if neighbour is not None:
                return neighbour
    return None


def describe_unused(
    splits: Sequence[str], train: str | None, train_target: str | None
) -> list[str]:
    """Describe what lies beside the training data but cannot be used.

    Each text names something with the name of a split, and the reason.
    """
    if train is None or train == SYNTHETIC or is_url(train):
        return []
    unused: list[str] = []
    for split in splits:
        with suppress(OSError):
            if _find_split(split, train, train_target) is None:
                unused += _describe_split(split, train, train_target)
    return list(dict.fromkeys(unused))


def _describe_split(split: str, train: str, train_target: str | None) -> list[str]:
    """Describe why each part of an incomplete split cannot be used."""
    folder = Path(os.path.expanduser(train))
    sides = sides_of_split(folder, _TRAIN)
    if sides:
        names = [split + name.removeprefix(_TRAIN) for name in list(sides.values())[:2]]
        return _describe_half(folder / names[0], folder / names[1])
    if is_cityscapes(folder):
        if split != "val":
            return []
        return _describe_half(folder / "leftImg8bit" / split, folder / "gtFine" / split)
    place = _rename(train, split)
    if place is None:
        return []
    if train_target is None:
        return _describe_place(place)
    target = _rename(train_target, split)
    if target is None or target == place:
        return _describe_place(place)
    reasons = _describe_half(Path(place), Path(target))
    return reasons or [*_describe_place(place), *_describe_place(target)]


def _describe_half(first: Path, second: Path) -> list[str]:
    """Describe what is wrong with two folders that belong together.

    One is there without the other, or a file lies in the place of a folder.
    """
    reasons = []
    for here, other in ((first, second), (second, first)):
        is_folder = os.path.isdir(os.path.expanduser(here))
        if not is_folder and os.path.lexists(os.path.expanduser(here)):
            reasons.append(f"{here} is no folder")
        elif is_folder and not os.path.isdir(os.path.expanduser(other)):
            lacking = other.name if here.parent == other.parent else other
            reasons.append(f"{here} is there without a folder {lacking}")
    return reasons


def _describe_place(place: str) -> list[str]:
    """Describe why a path is no data set; empty where nothing is there, or where it is one."""
    folder = os.path.expanduser(place)
    if os.path.isdir(folder):
        return [] if _holds_data(place) else [f"{place} holds no images"]
    return [f"{place} is no folder"] if os.path.lexists(folder) else []


def _find_split(split: str, train: str, train_target: str | None) -> Neighbour | None:
    folder = Path(os.path.expanduser(train))
    if sides_of_split(folder, _TRAIN):
        inside = sides_of_split(folder, split)
        return Neighbour(train, None) if inside and train_target is None else None
    if is_cityscapes(folder):  # the annotations of its test images are not published
        has_split = split == "val" and (folder / "gtFine" / split).is_dir()
        return Neighbour(train, None) if has_split else None
    place = _rename(train, split)
    target = None if train_target is None else _rename(train_target, split)
    if place is None or not _holds_data(place):
        return None
    if train_target is not None and (target is None or not _holds_data(target)):
        return None
    return Neighbour(place, target)


def _rename(place: str, split: str) -> str | None:
    """Return the path with the name of a split instead of `train` in its last two folders."""
    if place.endswith(".tar"):  # a pattern of shards; another split has another number of them
        place = os.path.dirname(place)
    parts = place.rstrip("/").split("/")
    for position in range(len(parts) - 1, max(len(parts) - 3, -1), -1):
        if parts[position] in _TRAIN_NAMES:
            parts[position] = split + parts[position].removeprefix(_TRAIN)
            return "/".join(parts)
    return None


def _holds_data(place: str) -> bool:
    folder = Path(os.path.expanduser(place))
    if not os.path.isdir(folder):
        return False
    if os.path.isfile(folder / "index.json"):
        return True
    try:
        return holds_images(folder)
    except ValueError:  # a loop of links, which opening the folder reports
        return True

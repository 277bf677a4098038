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

    place: the folder. target: of two sets, the folder of the targets, or None where `place` holds both.
    """

    place: str
    target: str | None


def find_neighbour(splits: Sequence[str], train: str | None, train_target: str | None) -> Neighbour | None:
    """The first of the splits that lies beside the training data, or None.

    train, train_target: `data.train` and `data.train_target`. For a folder with trainA and trainB inside (or train_A
    and train_B, or train_label and train_img) it is the same folder, with valA and valB; for Cityscapes as it is
    unpacked, too. Of DIR/train, DIR/train/FIELD and DIR/trainA it is the folder in which `train` has the split's name.
    It has to hold images or a data set. Nothing is looked for beside a URL or drawn images.
    """
    if train is None or train == SYNTHETIC or is_url(train):
        return None
    for split in splits:
        with suppress(OSError):  # a folder that cannot be read; opening the training data reports it
            neighbour = _find_split(split, train, train_target)
            if neighbour is not None:
                return neighbour
    return None


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
    """The path in which its last or last but one folder is that of a split instead of `train`."""
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

"""The part of a folder that a key of `data` takes, where the folder holds several splits or both of two sets."""

import os
from pathlib import Path

from gantrain.data.prepare.layouts import sides_of_split

SYNTHETIC = "synthetic"
_HELD_OUT_SPLITS = ("test", "val")  # of folders such as testA and testB; the first one that is there is taken


def find_two_sets(key: str, value: str | None, target: str | None) -> tuple[str | None, str | None]:
    """The sources and the targets; one folder may hold both in CycleGAN's layout, trainA and trainB."""
    if value == SYNTHETIC:
        return value, target or value
    if value is None:
        return None, target
    folder = Path(os.path.expanduser(value))
    for split in ("train",) if key == "train" else _HELD_OUT_SPLITS:
        inside = [str(folder / name) for name in sides_of_split(folder, split).values()]
        if inside:
            return inside[0], target or inside[1]
    return value, target


def find_split(key: str, folder: Path, is_for_evaluate: bool) -> str:
    """The split that a key of `data` takes of a layout with its splits inside, each under its own names."""
    if key.startswith("train"):
        return "train"
    if (folder / "gtFine").is_dir():
        return "val"
    sides = sides_of_split(folder, "train")
    if not sides:
        return "train"
    for split in _HELD_OUT_SPLITS:
        if sides_of_split(folder, split):
            return split
    missing = " and ".join(name.replace("train", "test", 1) for name in list(sides.values())[:2])
    first = next(iter(sides.values()))
    instead = "" if is_for_evaluate else ", or data.validation=null"
    raise ValueError(f"{folder} holds {first} but no {missing}; make them{instead}")

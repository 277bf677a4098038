"""Choose the part of a folder that a key of `data` takes.

The folder may hold several splits, or both of two sets.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from gantrain.core.errors import UserError
from gantrain.data.prepare.layouts import is_cityscapes, sides_of_split
from gantrain.data.urls import is_url

SYNTHETIC = "synthetic"
# The names of held-out splits and of test splits, as in val, valA and val_label; the first one that
# is there is taken.
HELD_OUT_SPLITS = ("val", "valid", "validation")
TEST_SPLITS = ("test",)


def find_two_sets(
    key: str, value: str | None, target: str | None, is_for_evaluate: bool = False
) -> tuple[str | None, str | None]:
    """Return the folders of the sources and of the targets.

    One folder may hold both in CycleGAN's layout, trainA and trainB.
    """
    if value == SYNTHETIC:
        return value, target or value
    if value is None:
        return None, target
    folder = Path(os.path.expanduser(value))
    for split in _splits_of(key, is_for_evaluate):
        inside = [str(folder / name) for name in sides_of_split(folder, split).values()]
        if inside:
            return inside[0], target or inside[1]
    return value, target


def find_split(key: str, folder: Path, is_for_evaluate: bool) -> str:
    """Return the split that a key of `data` takes of a folder that holds several splits."""
    if key.startswith("train"):
        return "train"
    if (folder / "gtFine").is_dir():
        return "val"
    sides = sides_of_split(folder, "train")
    if not sides:
        return "train"
    for split in _splits_of(key, is_for_evaluate):
        if sides_of_split(folder, split):
            return split
    missing = " and ".join(name.replace("train", "test", 1) for name in list(sides.values())[:2])
    first = next(iter(sides.values()))
    instead = "" if is_for_evaluate else f", or data.{key.partition('_')[0]}=null"
    raise UserError(f"{folder} holds {first} but no {missing}; make them{instead}")


def describe_test_split(value: str) -> str | None:
    """Return the names of the test split's folders where `data.validation` takes them, or None.

    It takes them where the folder holds no other held-out split. value: `data.validation`.
    """
    if _find_sides(value, HELD_OUT_SPLITS):
        return None
    return _find_sides(value, TEST_SPLITS)


def describe_other_split(value: str, option: str) -> list[str]:
    """Return a line where `gantrain evaluate --data` takes one of two splits of a folder.

    It takes the test split of a folder that also holds a held-out split. option: the option by
    which the user gave the folder.
    """
    test = _find_sides(value, TEST_SPLITS)
    other = _find_sides(value, HELD_OUT_SPLITS)
    if test is None or other is None:
        return []
    return [f"{option}: {test} are measured; {other} are there, too"]


def describe_split(key: str, value: str, train: str | None) -> str:
    """Describe the folders that a key of `data` takes, such as `valA and valB in DIR`.

    The text differs from the key's value where one folder holds the training data as well. Returns
    the path itself where it is that of the held-out data alone. key: `validation` or `test`. value:
    what it says. train: `data.train`.
    """
    if value != train:
        return value
    folder = Path(os.path.expanduser(value))
    if not is_url(value) and is_cityscapes(folder):
        return f"the split val in {value}"
    sides = _find_sides(value, _splits_of(key, is_for_evaluate=False))
    return f"{sides} in {value}" if sides else value


def _find_sides(value: str, splits: Sequence[str]) -> str | None:
    """The names of a split's two folders inside the folder that a key of `data` names, or None."""
    if value == SYNTHETIC or is_url(value):
        return None
    for split in splits:
        sides = list(sides_of_split(Path(os.path.expanduser(value)), split).values())
        if sides:
            return " and ".join(sides[:2])
    return None


def _splits_of(key: str, is_for_evaluate: bool) -> tuple[str, ...]:
    """Return the splits that a key takes, the first choice first.

    A test set is for a trained model: checkpoints that are chosen on it look better than they are.
    So `data.validation` takes it last, and `data.test` and `gantrain evaluate --data` take it
    first.
    """
    if key.startswith("train"):
        return ("train",)
    if key.startswith("test") or is_for_evaluate:
        return (*TEST_SPLITS, *HELD_OUT_SPLITS)
    return (*HELD_OUT_SPLITS, *TEST_SPLITS)

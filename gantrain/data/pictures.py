"""Convert tensors to pictures that a person can look at: previews and translated files."""

from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from gantrain.core import files
from gantrain.core.own_code import naming_failure
from gantrain.data.kinds.table import KINDS
from gantrain.data.shards import Field

_GAP = 4  # pixels of white between pictures


def viewable(images: Tensor, field: Field) -> np.ndarray:
    """Return what a network sees or makes, NCHW, as the 8-bit RGB of its kind, NHW3."""
    kind = KINDS[field.kind]
    with naming_failure(kind, "picture"):
        return kind.picture(images, field)


def at_equal_size(pictures: list[np.ndarray]) -> list[np.ndarray]:
    """Return pictures, each NHW3, at the size of the largest one; smaller pixels become blocks."""
    height = max(picture.shape[1] for picture in pictures)
    enlarged: list[np.ndarray] = []
    for picture in pictures:
        factor = height // picture.shape[1]
        enlarged.append(picture.repeat(factor, axis=1).repeat(factor, axis=2))
    return enlarged


def sheet(columns: list[np.ndarray]) -> np.ndarray:
    """Return columns of pictures, each NHW3, side by side: one row for each sample."""
    gap = ((0, 0), (_GAP, 0), (_GAP, 0), (0, 0))  # above and to the left of each picture
    rows = np.concatenate([np.pad(c, gap, constant_values=255) for c in columns], axis=2)
    page = np.concatenate(list(rows))
    return np.pad(page, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=255)


def save_png(picture: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as partial:
        Image.fromarray(picture).save(partial, format="PNG")

"""Tensors as pictures a person can look at: previews and translated files."""

from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from gantrain.data.batch import to_files
from gantrain.data.decode import palette
from gantrain.data.shards import Field

_GAP = 4  # pixels of white between pictures


def viewable(images: Tensor, field: Field) -> np.ndarray:
    """What a network sees or makes, NCHW, as 8-bit RGB, NHW3; class ids in their colours."""
    if field.kind == "label":
        colours = np.asarray(field.palette or palette(images.shape[1]), np.uint8)
        ids = images.argmax(1).cpu().numpy()
        coloured: np.ndarray = colours[ids % len(colours)]
        return coloured
    if images.shape[1] not in (1, 3):  # show the mean of unusual channels, in grey
        images = images.mean(1, keepdim=True)
    rgb = to_files(images, "uint8").expand(-1, -1, -1, 3)
    return rgb.cpu().numpy()


def sheet(columns: list[np.ndarray]) -> np.ndarray:
    """Columns of pictures, each NHW3, side by side: one row for each sample."""
    n, height, width, _ = columns[0].shape
    page = np.full(
        (n * (height + _GAP) + _GAP, len(columns) * (width + _GAP) + _GAP, 3), 255, np.uint8
    )
    for x, column in enumerate(columns):
        for y, picture in enumerate(column):
            top, left = _GAP + y * (height + _GAP), _GAP + x * (width + _GAP)
            page[top : top + height, left : left + width] = picture
    return page


def save_png(picture: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    Image.fromarray(picture).save(partial, format="PNG")
    partial.replace(path)

"""Convert tensors to pictures that a person can look at: previews and translated files."""

from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from gantrain.core import files
from gantrain.data.batch import to_files
from gantrain.data.channels import has_alpha
from gantrain.data.label_colours import palette
from gantrain.data.shards import Field

_GAP = 4  # pixels of white between pictures


def viewable(images: Tensor, field: Field) -> np.ndarray:
    """Return what a network sees or makes, NCHW, as 8-bit RGB, NHW3; class ids in their colours.

    Images with alpha (see `channels.py`) are composited over white.
    """
    if field.kind == "label":
        colours = np.asarray(field.palette or palette(images.shape[1]), np.uint8)
        ids = images.argmax(1).cpu().numpy()
        return np.take(colours, ids % len(colours), axis=0)
    if has_alpha(images.shape[1]):
        opacity = (images[:, -1:].clamp(-1, 1) + 1) / 2  # N1HW, in [0, 1]
        images = images[:, :-1] * opacity + (1 - opacity)  # white is 1
    if images.shape[1] not in (1, 3):  # show the mean of unusual channels, in grey
        images = images.mean(1, keepdim=True)
    return to_files(images, "uint8").expand(-1, -1, -1, 3).cpu().numpy()


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

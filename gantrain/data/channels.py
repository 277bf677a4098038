"""Convert decoded files to the channels of a data set or model: grey, RGB and alpha of 8 bits.

By convention an array of uint8 with 2 channels is grey with alpha, and one with 4 channels is RGB
with alpha, also in `.npy` files.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]  # HWC

_DTYPE = "uint8"  # of the images that are converted
_NAMES = {1: "grey", 2: "grey with alpha", 3: "RGB", 4: "RGB with alpha"}


def has_alpha(channels: int, dtype: str) -> bool:
    """Return whether the last of so many channels is alpha.

    Values of other dtypes than uint8 are measurements, of which none is an opacity.
    """
    return channels in (2, 4) and dtype == _DTYPE


def note(own: int, wanted: int) -> str:
    """Describe a conversion of channels for people, with a place for `{files}`."""
    changes = []
    if has_alpha(own, _DTYPE) and not has_alpha(wanted, _DTYPE):
        changes.append("composited over white")
    if (own > 2) != (wanted > 2):
        changes.append("converted to RGB" if wanted > 2 else "converted to grey")
    if has_alpha(wanted, _DTYPE) and not has_alpha(own, _DTYPE):
        changes.append("taken as opaque")
    return f"{{files}} in {_NAMES[own]}: {', '.join(changes)}"


def are_convertible(own: tuple[int, str], wanted: tuple[int, str]) -> bool:
    """Return whether `convert` takes images of a format (channels, dtype) to another one."""
    have_eight_bits = own[1] == wanted[1] == _DTYPE
    return have_eight_bits and own[0] in _NAMES and wanted[0] in _NAMES


def convert(array: Array, channels: int) -> Array:
    """Return an HWC image of uint8 with 1 to 4 channels in the wanted channels.

    Grey is repeated, colours become Pillow's luma, alpha that is not wanted is composited over
    white, and alpha that is missing is opaque.
    """
    colours = array
    alpha = None
    if has_alpha(array.shape[2], _DTYPE):
        colours = array[..., :-1]
        alpha = array[..., -1:]
    if alpha is not None and not has_alpha(channels, _DTYPE):
        colours = over_white(colours, alpha)
    if colours.shape[2] == 1 and channels > 2:
        colours = np.repeat(colours, 3, axis=2)
    elif colours.shape[2] == 3 and channels <= 2:
        grey = Image.fromarray(np.ascontiguousarray(colours)).convert("L")
        colours = np.array(grey)[..., None]
    if not has_alpha(channels, _DTYPE):
        return np.array(colours)
    if alpha is None:
        alpha = np.full((*array.shape[:2], 1), 255, np.uint8)
    return np.concatenate([colours, alpha], axis=2)


def over_white(colours: Array, alpha: Array) -> Array:
    """Composite colours of uint8 over white; opaque pixels keep their exact values."""
    opacity = alpha.astype(np.uint32)
    blended = colours * opacity + 255 * (255 - opacity)
    return ((blended + 127) // 255).astype(np.uint8)

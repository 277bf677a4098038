"""What kinds share whose values are numbers of things, and are never mixed."""

from collections.abc import Mapping

import numpy as np

from gantrain.data.kinds.kind import DTYPES, Array, NotLabels, PixelFormat
from gantrain.data.pillow_pixels import narrow

_ID_DTYPES = ("uint8", "uint16")
_COLOURS = {3: "RGB", 4: "RGBA"}


def check_ids(array: Array, content: str, *, always_16_bits: bool) -> Array:
    """Return ids, HW1. Raises NotLabels for other arrays.

    content: what the ids are, for the message. always_16_bits: return uint16 also where 8 bits are
    enough.
    """
    if array.dtype.kind not in "iu" or array.shape[2] != 1:
        found = _COLOURS.get(array.shape[2], f"{array.shape[2]}-channel {array.dtype}")
        raise NotLabels(f"{found} where {content} are expected; save them as a one-channel PNG")
    return narrow(array) if always_16_bits or array.dtype.name not in DTYPES else array


def can_fit_ids(own: PixelFormat, wanted: PixelFormat) -> bool:
    """Return whether ids of one format are always those of another one.

    16 bits can be converted to 8 only where all ids are below 256, which is not known here.
    """
    return own == wanted or (own == (1, "uint8") and wanted == (1, "uint16"))


def fit_ids(array: Array, wanted: PixelFormat) -> Array:
    """Return ids of 8 or 16 bits in the wanted of both, where they fit, and else as they are."""
    channels, dtype = wanted
    if array.shape[2] != channels or array.dtype.name not in _ID_DTYPES or dtype not in _ID_DTYPES:
        return array
    return array.astype(dtype) if array.max() <= np.iinfo(dtype).max else array


def widest_format(counts: Mapping[PixelFormat, int]) -> PixelFormat:
    """Return the format of 16 bits where there is one, since ids below 256 fit into it too."""
    return max(counts, key=lambda pixel_format: pixel_format[1] == "uint16")

"""What kinds share whose values are numbers of things, and are never mixed."""

from collections.abc import Mapping

import numpy as np

from gantrain.data.kinds.kind import Array, Kind, NotLabels, PixelFormat
from gantrain.data.pillow_pixels import narrow
from gantrain.data.resize import resize_nearest

INTEGERS = ("uint8", "uint16")  # the dtypes of ids and masks
_COLOURS = {3: "RGB", 4: "RGBA"}


class ExactKind(Kind):
    """A kind of one channel of whole numbers, in 8 or 16 bits, which resizing does not mix."""

    has_exact_values = True

    def can_fit(self, own: PixelFormat, wanted: PixelFormat) -> bool:
        """Return whether 8 bits are wanted in 16, or the formats are the same.

        16 bits can be converted to 8 only where all values are below 256, which is not known here.
        """
        return own == wanted or (own == (1, "uint8") and wanted == (1, "uint16"))

    def fit(self, array: Array, wanted: PixelFormat) -> Array:
        channels, dtype = wanted
        have_integers = array.dtype.name in INTEGERS and dtype in INTEGERS
        if array.shape[2] != channels or not have_integers:
            return array
        return array.astype(dtype) if array.max() <= np.iinfo(dtype).max else array

    def usual_format(self, counts: Mapping[PixelFormat, int]) -> PixelFormat:
        """Return the format of 16 bits where there is one, since values of 8 bits fit into it."""
        return max(counts, key=lambda pixel_format: pixel_format[1] == "uint16")

    def resize(self, array: Array, height: int, width: int) -> Array:
        return resize_nearest(array, height, width)


def check_ids(array: Array, content: str, *, always_16_bits: bool) -> Array:
    """Return ids, HW1. Raises NotLabels for other arrays.

    content: what the ids are, for the message. always_16_bits: return uint16 also where 8 bits are
    enough.
    """
    if array.dtype.kind not in "iu" or array.shape[2] != 1:
        description = _COLOURS.get(array.shape[2], f"{array.shape[2]}-channel {array.dtype}")
        raise NotLabels(
            f"{description} where {content} are expected; save them as a one-channel PNG"
        )
    return narrow(array) if always_16_bits or array.dtype.name not in INTEGERS else array

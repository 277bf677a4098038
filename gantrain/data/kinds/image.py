"""Images: photographs, drawings and measurements of any number of channels."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gantrain.core.amounts import count_text
from gantrain.core.errors import UserError
from gantrain.data import channels
from gantrain.data.kinds.kind import DTYPES, Array, FieldContent, Kind, PixelFormat
from gantrain.data.ranges import FIXED_DTYPE, FULL_RANGES, Range
from gantrain.data.resize import resize_for_storage, resize_smoothly

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class ImageKind(Kind):
    """Pixels of any number of channels; networks see them in [-1, 1].

    The field's range maps to [-1, 1], and values outside are clipped. By convention the last of 2
    or 4 channels of 8 bits is alpha.
    """

    name = "image"
    content = "images"
    has_exact_values = False
    has_range = True
    true_value = 255

    def check(self, array: Array) -> Array:
        if array.dtype.name not in DTYPES:
            advice = _advise_dtype(array)
            raise UserError(f"array of {array.dtype}, expected one of {', '.join(DTYPES)}{advice}")
        if array.dtype == np.float32 and not np.isfinite(array).all():
            raise UserError("the array holds NaN or infinite values")
        return array

    def can_fit(self, own: PixelFormat, wanted: PixelFormat) -> bool:
        return own == wanted or channels.are_convertible(own, wanted)

    def fit(self, array: Array, wanted: PixelFormat) -> Array:
        """Convert images of uint8 with 1 to 4 channels to each other; see `channels.convert`.

        Other dtypes stay as they are, because their range has a meaning.
        """
        own = (array.shape[2], array.dtype.name)
        if own == wanted or not channels.are_convertible(own, wanted):
            return array
        return channels.convert(array, wanted[0])

    def usual_format(self, counts: Mapping[PixelFormat, int]) -> PixelFormat:
        """Return the format to which most files can be converted."""

        def preference(candidate: PixelFormat) -> tuple[int, int, int]:
            usable = sum(n for other, n in counts.items() if self.can_fit(other, candidate))
            # Of equally many, the format with more channels keeps more.
            return usable, counts[candidate], candidate[0]

        return max(counts, key=preference)

    def resize(self, array: Array, height: int, width: int) -> Array:
        return resize_smoothly(array, height, width)

    def resize_for_storage(self, array: Array, height: int, width: int) -> Array:
        return resize_for_storage(array, height, width)

    def normalise(
        self, raw: "Tensor", field: FieldContent, dtype: "torch.dtype", device: "torch.device"
    ) -> "Tensor":
        low, high = range_of(field)
        half = (high - low) / 2
        values = raw.to(dtype, copy=True)  # and then in place, which is 8 times as fast on a CPU
        if low != 0:
            values.sub_(low)
        values.div_(half).sub_(1)
        if field.dtype != FIXED_DTYPE:
            values.clamp_(-1, 1)
        return values.permute(0, 3, 1, 2)  # NCHW

    def to_files(self, images: "Tensor", field: FieldContent) -> "Tensor":
        """Convert NCHW images in [-1, 1] to NHWC values of the field; inverts `normalise`."""
        return _to_values(images, field.dtype, range_of(field))

    def picture(self, images: "Tensor", field: FieldContent) -> NDArray[np.uint8]:
        """Composite alpha over white, and show the mean of unusual channels in grey."""
        if channels.has_alpha(images.shape[1], field.dtype):
            opacity = (images[:, -1:].clamp(-1, 1) + 1) / 2  # N1HW, in [0, 1]
            images = images[:, :-1] * opacity + (1 - opacity)  # white is 1
        if images.shape[1] not in (1, 3):
            images = images.mean(1, keepdim=True)
        shown: NDArray[np.uint8] = (
            _to_values(images, "uint8", FULL_RANGES["uint8"]).expand(-1, -1, -1, 3).cpu().numpy()
        )
        return shown

    def describe(self, field: FieldContent) -> str:
        return f"{count_text(field.channels, 'channel')} of {field.dtype}"


def range_of(field: FieldContent) -> Range:
    """Return the values of an image field that networks see as -1 and as 1."""
    return field.range or FULL_RANGES[field.dtype]


def _to_values(images: "Tensor", dtype: str, values_range: Range) -> "Tensor":
    """Convert NCHW images in [-1, 1] to NHWC values of a range, in a dtype of files."""
    import torch

    low, high = values_range
    clamped = images.detach().float().clamp(-1, 1)
    values = ((clamped + 1) * ((high - low) / 2) + low).permute(0, 2, 3, 1)
    return values if dtype == "float32" else values.round().to(getattr(torch, dtype))


def _advise_dtype(array: Array) -> str:
    """Describe how to convert integers of another dtype without loss, where that is possible."""
    if array.dtype.kind not in "iu":
        return ""
    low = array.min()
    high = array.max()
    for dtype in (np.uint8, np.uint16, np.int16):
        if low >= np.iinfo(dtype).min and high <= np.iinfo(dtype).max:
            name = np.dtype(dtype).name
            return f"; its values {low}..{high} fit into {name}: give array.astype('{name}')"
    return f"; its values {low}..{high} fit into none of the integers"

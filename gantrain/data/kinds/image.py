"""Images: photographs, drawings and measurements of any number of channels."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gantrain.core.amounts import count_text
from gantrain.core.errors import UserError
from gantrain.data import channels
from gantrain.data.kinds.kind import DTYPES, Array, FieldContent, Kind, PixelFormat
from gantrain.data.resize import resize_smoothly

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# Half of the range of values, which maps to [-1, 1].
_HALF_RANGE = {"uint8": 127.5, "uint16": 32767.5, "float32": 0.5}


class ImageKind(Kind):
    """Pixels of any number of channels; networks see them in [-1, 1].

    0 to 255 of uint8, 0 to 65535 of uint16, and 0 to 1 of float32 are the range of values. By
    convention the last of 2 or 4 channels is alpha.
    """

    name = "image"
    content = "images"
    has_exact_values = False
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

    def normalise(
        self, raw: "Tensor", field: FieldContent, dtype: "torch.dtype", device: "torch.device"
    ) -> "Tensor":
        return (raw.to(dtype) / _HALF_RANGE[field.dtype] - 1).permute(0, 3, 1, 2)  # NCHW

    def to_files(self, images: "Tensor", dtype: str) -> "Tensor":
        """Convert NCHW images in [-1, 1] to NHWC values of a file's dtype; inverts `normalise`."""
        import torch

        clamped = images.detach().float().clamp(-1, 1)
        values = ((clamped + 1) * _HALF_RANGE[dtype]).permute(0, 2, 3, 1)
        return values if dtype == "float32" else values.round().to(getattr(torch, dtype))

    def picture(self, images: "Tensor", field: FieldContent) -> NDArray[np.uint8]:
        """Composite alpha over white, and show the mean of unusual channels in grey."""
        if channels.has_alpha(images.shape[1]):
            opacity = (images[:, -1:].clamp(-1, 1) + 1) / 2  # N1HW, in [0, 1]
            images = images[:, :-1] * opacity + (1 - opacity)  # white is 1
        if images.shape[1] not in (1, 3):
            images = images.mean(1, keepdim=True)
        shown: NDArray[np.uint8] = (
            self.to_files(images, "uint8").expand(-1, -1, -1, 3).cpu().numpy()
        )
        return shown

    def describe(self, field: FieldContent) -> str:
        return f"{count_text(field.channels, 'channel')} of {field.dtype}"


def _advise_dtype(array: Array) -> str:
    """Describe how to convert integers of another dtype without loss, where that is possible."""
    if array.dtype.kind not in "iu":
        return ""
    low = array.min()
    high = array.max()
    for dtype in (np.uint8, np.uint16):
        if low >= 0 and high <= np.iinfo(dtype).max:
            name = np.dtype(dtype).name
            return f"; its values {low}..{high} fit into {name}: give array.astype('{name}')"
    return f"; its values {low}..{high} fit into none of the integers"

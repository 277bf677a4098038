"""Masks: which pixels are holes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gantrain.data.kinds.exact_values import can_fit_ids, fit_ids, widest_format
from gantrain.data.kinds.kind import DTYPES, Array, FieldContent, Kind, NotLabels, PixelFormat
from gantrain.data.pillow_pixels import narrow
from gantrain.data.resize import resize_nearest

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Mask(Kind):
    """Two values, 0 and another one, which marks the holes; networks see one channel, 0 or 1.

    The usual other value is white. A file may hold the same values in three channels.
    """

    name = "mask"
    content = "masks"
    has_exact_values = True
    prepare_option = "--masks"
    true_value = 255

    def check(self, array: Array) -> Array:
        if array.shape[2] == 3 and (array == array[..., :1]).all():
            array = array[..., :1]
        if array.dtype.kind not in "iu" or array.shape[2] != 1:
            raise NotLabels(
                f"{array.shape[2]}-channel {array.dtype} where a mask is expected; save it as a"
                " black and white PNG"
            )
        values = np.unique(array)
        if len(values) > 2 or (len(values) == 2 and values[0] != 0):
            raise NotLabels(
                f"{len(values)} values ({values[0]} to {values[-1]}) where a mask is expected,"
                " which has 0 and one other value; save it without grey"
            )
        return array if array.dtype.name in DTYPES else narrow(array)

    def can_fit(self, own: PixelFormat, wanted: PixelFormat) -> bool:
        return can_fit_ids(own, wanted)

    def fit(self, array: Array, wanted: PixelFormat) -> Array:
        return fit_ids(array, wanted)

    def usual_format(self, counts: Mapping[PixelFormat, int]) -> PixelFormat:
        return widest_format(counts)

    def resize(self, array: Array, height: int, width: int) -> Array:
        return resize_nearest(array, height, width)

    def normalise(
        self, raw: "Tensor", field: FieldContent, dtype: "torch.dtype", device: "torch.device"
    ) -> "Tensor":
        """Return N1HW, 1 in holes."""
        holes = raw[..., 0].int() > 0
        return holes[:, None].to(dtype)

    def picture(self, images: "Tensor", field: FieldContent) -> NDArray[np.uint8]:
        """Return holes in white on black."""
        grey = (images[:, 0] * 255).round().byte().cpu().numpy()
        return np.repeat(grey[..., None], 3, axis=3)

    def describe(self, field: FieldContent) -> str:
        return self.content

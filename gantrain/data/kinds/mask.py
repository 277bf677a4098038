"""Masks: which pixels are holes."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gantrain.data.kinds.exact_values import INTEGERS, ExactKind
from gantrain.data.kinds.kind import Array, FieldContent, NotLabels
from gantrain.data.pillow_pixels import narrow

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Mask(ExactKind):
    """Two values, 0 and another one, which marks the holes; networks see one channel, 0 or 1.

    The usual other value is white. A file may hold the same values in three channels.
    """

    name = "mask"
    content = "masks"
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
        return array if array.dtype.name in INTEGERS else narrow(array)

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

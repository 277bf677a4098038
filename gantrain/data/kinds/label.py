"""Label maps: the class of each pixel."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gantrain.core.amounts import count_text
from gantrain.data.kinds.exact_values import can_fit_ids, check_ids, fit_ids, widest_format
from gantrain.data.kinds.kind import Array, FieldContent, Kind, PixelFormat
from gantrain.data.label_colours import palette
from gantrain.data.resize import resize_nearest

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Label(Kind):
    """Class ids, one for each pixel; networks see a channel for each class, one-hot."""

    name = "label"
    content = "class ids"
    has_exact_values = True
    prepare_option = "--labels"

    def check(self, array: Array) -> Array:
        return check_ids(array, self.content, always_16_bits=False)

    def can_fit(self, own: PixelFormat, wanted: PixelFormat) -> bool:
        return can_fit_ids(own, wanted)

    def fit(self, array: Array, wanted: PixelFormat) -> Array:
        return fit_ids(array, wanted)

    def usual_format(self, counts: Mapping[PixelFormat, int]) -> PixelFormat:
        return widest_format(counts)

    def resize(self, array: Array, height: int, width: int) -> Array:
        return resize_nearest(array, height, width)

    def network_channels(self, field: FieldContent) -> int:
        """Return the number of classes; the pixels of no class are the last of them."""
        return field.classes or field.channels

    def normalise(
        self, raw: "Tensor", field: FieldContent, dtype: "torch.dtype", device: "torch.device"
    ) -> "Tensor":
        assert field.classes is not None
        ids = raw[..., 0].long()  # NHW
        if field.ignore is not None:
            ids = ids.masked_fill(ids == field.ignore, field.classes - 1)
        one_hot = raw.new_zeros((*ids.shape, field.classes), dtype=dtype, device=device)
        return one_hot.scatter_(3, ids[..., None], 1).permute(0, 3, 1, 2)

    def picture(self, images: "Tensor", field: FieldContent) -> NDArray[np.uint8]:
        """Return the classes in the palette's colours."""
        colours = np.asarray(field.palette or palette(images.shape[1]), np.uint8)
        ids = images.argmax(1).cpu().numpy()
        return np.take(colours, ids % len(colours), axis=0)

    def describe(self, field: FieldContent) -> str:
        """Describe the classes; their ids are the same in 8 and 16 bits."""
        return count_text(self.network_channels(field), "class", "classes")

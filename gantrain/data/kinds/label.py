"""Label maps: the class of each pixel."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gantrain.core.amounts import count_text
from gantrain.data.kinds.exact_values import ExactKind, check_ids
from gantrain.data.kinds.kind import Array, FieldContent
from gantrain.data.label_colours import palette

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Label(ExactKind):
    """Class ids, one for each pixel; networks see a channel for each class, one-hot."""

    name = "label"
    content = "class ids"
    has_classes = True
    prepare_option = "--labels"

    def check(self, array: Array) -> Array:
        return check_ids(array, self.content, always_16_bits=False)

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

"""Maps of instances: which object each pixel belongs to."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gantrain.data.kinds.exact_values import ExactKind, check_ids
from gantrain.data.kinds.kind import Array, FieldContent

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Instances(ExactKind):
    """Ids of instances, uint16; networks see one channel, the boundary map, which is 0 or 1."""

    name = "instances"
    content = "ids of instances"
    is_further_input = True
    prepare_option = "--instances"

    def check(self, array: Array) -> Array:
        # Maps of few instances have 8 bits, while others beside them have 16.
        return check_ids(array, self.content, always_16_bits=True)

    def normalise(
        self, raw: "Tensor", field: FieldContent, dtype: "torch.dtype", device: "torch.device"
    ) -> "Tensor":
        """Return the instance boundary map, N1HW, 1 at boundaries.

        A pixel lies at a boundary where its id differs from the id of any of its 4 neighbours
        (pix2pixHD, arXiv 1711.11585).
        """
        ids = raw[..., 0].int()  # NHW
        differs_across = ids[:, :, 1:] != ids[:, :, :-1]
        differs_down = ids[:, 1:] != ids[:, :-1]
        # Each difference marks both of its pixels; the image's border is no boundary.
        boundaries = ids.new_zeros(ids.shape, dtype=differs_across.dtype)
        boundaries[:, :, 1:] |= differs_across
        boundaries[:, :, :-1] |= differs_across
        boundaries[:, 1:] |= differs_down
        boundaries[:, :-1] |= differs_down
        return boundaries[:, None].to(dtype)

    def picture(self, images: "Tensor", field: FieldContent) -> NDArray[np.uint8]:
        """Return boundaries in white on black."""
        grey = (images[:, 0] * 255).round().byte().cpu().numpy()
        return np.repeat(grey[..., None], 3, axis=3)

    def describe(self, field: FieldContent) -> str:
        return self.content

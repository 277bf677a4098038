"""Several degradations, one after the other."""

import math
from collections.abc import Sequence

import numpy as np

from gantrain.core.errors import UserError
from gantrain.core.own_code import naming_failure
from gantrain.data.degradations.degradation import Degradation, Degraded, Image, divided
from gantrain.data.degradations.random_streams import split


class Composition(Degradation):
    """The degradations of a list, in its order.

    Each one has a stream of random numbers of its own, by its place in the list. `scale` is the
    product of theirs. A degradation that makes holes is the last one, since a later one would
    change what lies in the holes and around them.
    """

    def __init__(self, parts: Sequence[Degradation]) -> None:
        """Raises UserError if a degradation that makes holes is not the last one."""
        assert parts
        for number, part in enumerate(parts[:-1], start=1):
            if part.gives_mask:
                raise UserError(
                    f"degradation {number} of {len(parts)} makes holes, which those after it would"
                    " change; put it last"
                )
        self.parts = tuple(parts)
        self.scale = math.prod(part.scale for part in self.parts)
        self.gives_mask = self.parts[-1].gives_mask
        self.fill = self.parts[-1].fill

    def size_after(self, height: int, width: int) -> tuple[int, int]:
        """Return the size of the result. Raises UserError where a part cannot take the size."""
        divided(height, width, self.scale)  # whose message names the factor of the whole list
        for part in self.parts:
            with naming_failure(part, "size_after"):
                height, width = part.size_after(height, width)
        return height, width

    def channels_after(self, channels: int) -> int:
        for part in self.parts:
            with naming_failure(part, "channels_after"):
                channels = part.channels_after(channels)
        return channels

    def degrade(self, image: Image, random: np.random.Generator) -> Degraded:
        """Return the degraded image, and the mask of the last degradation.

        Raises UserError for an image whose channels or size a degradation cannot take.
        """
        assert image.ndim == 3, f"HWC is expected, not {image.shape}"
        assert image.dtype == np.float32, f"float32 is expected, not {image.dtype}"
        height, width, channels = image.shape
        self.size_after(height, width)
        self.channels_after(channels)
        degraded = Degraded(image)
        streams = split(random, len(self.parts))
        for part, stream in zip(self.parts, streams, strict=True):
            with naming_failure(part, "degrade"):
                degraded = part.degrade(degraded.image, stream)
        return degraded

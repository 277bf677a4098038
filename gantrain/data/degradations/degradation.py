"""The contract of a degradation, which makes a method's source from its target."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gantrain.core.errors import UserError

Image = NDArray[np.float32]  # HWC, in [0, 1]


@dataclass(frozen=True)
class Degraded:
    """The result of a degradation.

    Attributes:
        image: The degraded image, HWC float32 in [0, 1].
        mask: The holes of the image, HW1 float32: 1 in a hole, else 0. None if the degradation
            makes no holes. A method takes it as its input `mask`.
    """

    image: Image
    mask: NDArray[np.float32] | None = None


class Degradation:
    """A pure function of an image, a seed and a position.

    The options of a degradation are the keyword-only parameters of its constructor. Several threads
    call an object at once: `degrade` must not change it, and takes chance from `random` alone.

    Attributes:
        scale: How many times smaller the degraded image is, in height and in width.
        gives_mask: Whether the degradation makes holes, so that `Degraded.mask` is set.
        fill: The value of all channels in a hole, 0 to 1.
    """

    scale: int = 1
    gives_mask: bool = False
    fill: float = 0.5

    def channels_after(self, channels: int) -> int:
        """Return the number of channels of the degraded image.

        Raises UserError, in one line, for images that the degradation cannot take.
        """
        return channels

    def size_after(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and the width of the degraded image.

        Raises UserError unless `scale` divides both.
        """
        return divided(height, width, self.scale)

    def degrade(self, image: Image, random: np.random.Generator) -> Degraded:
        """Return the degraded image.

        image: HWC float32 in [0, 1]. It is not changed. random: it depends on the seed and the
        position only, as `random_numbers(seed, position, Purpose.DEGRADATION)` does.
        """
        raise NotImplementedError


def divided(height: int, width: int, factor: int) -> tuple[int, int]:
    """Return a size that is smaller by a factor. Raises UserError unless it divides both sides."""
    if height % factor or width % factor:
        raise UserError(
            f"an image of {height}x{width} is to become {factor} times smaller; crop or resize it"
            f" to a height and a width that {factor} divides"
        )
    return height // factor, width // factor

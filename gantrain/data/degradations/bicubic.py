"""Down-sampling for super-resolution."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gantrain.data.degradations.degradation import Degradation, Degraded, Image
from gantrain.data.degradations.resampling import cubic

_A = -0.5


class Bicubic(Degradation):
    """Bicubic down-sampling with antialiasing, equal to MATLAB's `imresize(image, 1 / scale)`.

    The data sets of super-resolution are made by it. It is Keys' kernel (1981, a = -0.5), stretched
    by the scale, over an image that is mirrored at its borders. Values beyond [0, 1] are clipped,
    as in an image file. They are not rounded to 8 bits. Every channel is treated alike.

    Args:
        scale: How many times smaller the result is.
    """

    def __init__(self, *, scale: Literal[2, 3, 4, 8] = 4) -> None:
        self.scale = scale

    def degrade(self, image: Image, random: np.random.Generator) -> Degraded:
        """Return an image HWC of any number of channels. Nothing is random."""
        height, width = self.size_after(*image.shape[:2])
        first, weights = _weights(self.scale)
        margin = -first
        margins = ((margin, margin), (margin, margin), (0, 0))
        mirrored = np.pad(image.astype(np.float64), margins, mode="symmetric")
        rows = np.zeros((height, *mirrored.shape[1:]))
        for tap, weight in enumerate(weights):
            rows += weight * mirrored[tap :: self.scale][:height]
        reduced = np.zeros((height, width, image.shape[2]))
        for tap, weight in enumerate(weights):
            reduced += weight * rows[:, tap :: self.scale][:, :width]
        return Degraded(reduced.clip(0, 1).astype(np.float32))


def _weights(scale: int) -> tuple[int, NDArray[np.float64]]:
    """Return the weights of the pixels that a reduced pixel is made of.

    They are the same for each pixel. The first value is the place of the first weight, relative to
    the first of the `scale` pixels that a reduced pixel covers.
    """
    centre = (scale - 1) / 2
    first = int(np.ceil(centre - 2 * scale))
    last = int(np.floor(centre + 2 * scale))
    places = np.arange(first, last + 1)
    weights = cubic((places - centre) / scale, _A)
    return first, weights / weights.sum()

"""Down-sampling for super-resolution."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gantrain.data.degradations.degradation import Degradation, Degraded, Image, divided
from gantrain.data.degradations.resampling import cubic
from gantrain.data.resize import resize_smoothly

_A = -0.5


class Bicubic(Degradation):
    """Bicubic down-sampling with antialiasing, equal to MATLAB's `imresize(image, 1 / scale)`.

    The data sets of super-resolution are made by it. It is Keys' kernel (1981, a = -0.5), stretched
    by the scale, over an image that is mirrored at its borders. Values beyond [0, 1] are clipped,
    as in an image file. They are not rounded to 8 bits. Every channel is treated alike.

    Args:
        scale: How many times smaller the result is.
        keep_size: Whether the result is enlarged to the size of the image again, by bicubic
            interpolation. A generator that keeps the size can then do super-resolution.
    """

    def __init__(self, *, scale: Literal[2, 3, 4, 8] = 4, keep_size: bool = False) -> None:
        self.factor = scale
        self.keep_size = keep_size
        self.scale = 1 if keep_size else scale

    def size_after(self, height: int, width: int) -> tuple[int, int]:
        """Return the size of the result. Raises UserError unless the factor divides both sides."""
        reduced = divided(height, width, self.factor)
        return (height, width) if self.keep_size else reduced

    def degrade(self, image: Image, random: np.random.Generator) -> Degraded:
        """Return an image HWC of any number of channels. Nothing is random."""
        reduced = self._reduce(image)
        if self.keep_size:
            reduced = resize_smoothly(reduced, *image.shape[:2])
        return Degraded(reduced)

    def _reduce(self, image: Image) -> Image:
        """Return an image HWC that is smaller by the factor."""
        height, width = divided(image.shape[0], image.shape[1], self.factor)
        first, weights = _weights(self.factor)
        margin = -first
        margins = ((margin, margin), (margin, margin), (0, 0))
        mirrored = np.pad(image.astype(np.float64), margins, mode="symmetric")
        rows = np.zeros((height, *mirrored.shape[1:]))
        for tap, weight in enumerate(weights):
            rows += weight * mirrored[tap :: self.factor][:height]
        reduced = np.zeros((height, width, image.shape[2]))
        for tap, weight in enumerate(weights):
            reduced += weight * rows[:, tap :: self.factor][:, :width]
        return reduced.clip(0, 1).astype(np.float32)


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

"""Grey images for colourisation."""

import numpy as np

from gantrain.core.errors import UserError
from gantrain.data.degradations.degradation import Degradation, Degraded, Image

# The parts of red, green and blue in the luminance of linear sRGB (IEC 61966-2-1) for white D65.
_LUMINANCE = (0.2126729, 0.7151522, 0.0721750)


class Grey(Degradation):
    """The lightness L of CIE Lab (1976) of an sRGB image, for white D65; 0..100 becomes 0..1.

    Methods of colourisation take it as their source, such as Zhang et al. 2016 (arXiv 1603.08511).
    """

    def channels_after(self, channels: int) -> int:
        if channels != 3:
            raise UserError(f"grey takes sRGB images, which have 3 channels; these have {channels}")
        return 1

    def degrade(self, image: Image, random: np.random.Generator) -> Degraded:
        """Return HW1 of an image HW3. Nothing is random."""
        luminance = weighted_channels(_linear(image), _LUMINANCE)
        return Degraded(_lightness(luminance))


def weighted_channels(image: Image, weights: tuple[float, float, float]) -> Image:
    """Return the sum HW1 of the channels of an image HW3, each times its weight.

    A product of matrices may add in another order on another number of threads.
    """
    red, green, blue = np.split(image, 3, axis=2)
    total: Image = weights[0] * red + weights[1] * green + weights[2] * blue
    return total


def _linear(image: Image) -> Image:
    """Return linear light of sRGB values."""
    return np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)


def _lightness(luminance: Image) -> Image:
    """Return L / 100 of luminances, where white has 1."""
    threshold = (6 / 29) ** 3
    slope = (29 / 3) ** 3 / 100
    bright = 1.16 * np.cbrt(luminance) - 0.16
    return np.where(luminance > threshold, bright, slope * luminance).clip(0, 1)

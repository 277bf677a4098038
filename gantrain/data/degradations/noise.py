"""Noise of sensors."""

from typing import Literal

import numpy as np

from gantrain.data.degradations.degradation import Degradation, Degraded, Image
from gantrain.data.degradations.grey import weighted_channels
from gantrain.data.degradations.option_types import Levels, Peaks, draw_uniform

SIGMAS = (0.0, 55.0)
PEAKS = (30.0, 30.0)

# The parts of red, green and blue in grey (ITU-R BT.601).
_LUMA = (0.299, 0.587, 0.114)


class Noise(Degradation):
    """Gaussian noise, or the Poisson noise of a small number of photons.

    Each value of each channel has noise of its own. Values beyond [0, 1] are clipped, as in an
    image file, so that noise near black is brighter in the mean. The default of `sigma` is that of
    DnCNN for unknown noise (Zhang et al. 2017, arXiv 1608.03981), and the default of `peak` is that
    of Noise2Noise (Lehtinen et al. 2018, arXiv 1803.04189).

    Args:
        kind: `gaussian` or `poisson`.
        sigma: The standard deviation of Gaussian noise, in units of 1/255 of the range of values: a
            number, or [lowest, highest], from which each sample draws.
        peak: The mean number of photons of a value of 1, for Poisson noise: a number, or [lowest,
            highest], from which each sample draws. More photons are less noise.
    """

    def __init__(
        self,
        *,
        kind: Literal["gaussian", "poisson"] = "gaussian",
        sigma: Levels = SIGMAS,
        peak: Peaks = PEAKS,
    ) -> None:
        self.kind = kind
        self.sigma = sigma
        self.peak = peak

    def degrade(self, image: Image, random: np.random.Generator) -> Degraded:
        """Return an image HWC of any number of channels."""
        if self.kind == "gaussian":
            return Degraded(add_gaussian(image, draw_uniform(self.sigma, random), random))
        return Degraded(add_poisson(image, draw_uniform(self.peak, random), random))


def add_gaussian(
    image: Image, sigma: float, random: np.random.Generator, *, is_grey: bool = False
) -> Image:
    """Return an HWC image with Gaussian noise, clipped to [0, 1].

    sigma: the standard deviation, in units of 1/255. is_grey: all channels have the same noise.
    """
    height, width, channels = image.shape
    shape = (height, width, 1 if is_grey else channels)
    noise = random.standard_normal(shape, dtype=np.float32)
    return (image + np.float32(sigma / 255) * noise).clip(0, 1)


def add_poisson(
    image: Image,
    peak: float,
    random: np.random.Generator,
    *,
    strength: float = 1.0,
    is_grey: bool = False,
) -> Image:
    """Return an HWC image with Poisson noise, clipped to [0, 1]. Its variance is value / peak.

    peak: the mean number of photons of a value of 1. strength: a factor of the noise. is_grey: all
    channels have the noise of the grey image.
    """
    image = image.clip(0, 1)
    exposed = image
    if is_grey and image.shape[2] == 3:
        exposed = weighted_channels(image, _LUMA)
    photons = random.poisson(exposed * peak)
    noise = photons.astype(np.float32) / np.float32(peak) - exposed
    return (image + np.float32(strength) * noise).clip(0, 1)

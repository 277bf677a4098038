"""The steps of one round of Real-ESRGAN's degradation: their options and what they draw.

Each step draws its parameters by `draw`, from a stream of its own.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gantrain.data.degradations.blur_kernels import Bell, Kernel, blur
from gantrain.data.degradations.degradation import Image
from gantrain.data.degradations.noise import add_gaussian, add_poisson
from gantrain.data.degradations.option_types import draw_integer, draw_name, draw_uniform
from gantrain.data.degradations.random_streams import split
from gantrain.data.degradations.resampling import MODES, resample

Range = tuple[float, float]
Direction = Literal["up", "down", "keep"]

# Photons of a value of 1 in Poisson noise of strength 1: one for each value of an 8-bit image.
PEAK = 256
_REACHES = (3, 10)  # pixels beside a kernel's centre: sizes 7, 9, ... 21
_LARGE_KERNEL = 13  # pixels; from here on a sinc kernel may pass fewer frequencies


@dataclass(frozen=True)
class BlurStep:
    """A blur by a Gaussian, a generalised Gaussian, a plateau or a sinc kernel.

    Attributes:
        probability: The probability of the blur.
        sinc: The probability that the kernel of a blur is a sinc kernel.
        kinds: The frequencies of the other kinds of kernels.
        sigma: The range of their standard deviations, in pixels.
        generalised_shape: The range of the exponent of generalised Gaussians.
        plateau_shape: The range of the exponent of plateaus.
    """

    probability: float
    sinc: float
    kinds: Mapping[Bell, float]
    sigma: Range
    generalised_shape: Range
    plateau_shape: Range

    def draw(self, random: np.random.Generator) -> Kernel | None:
        """Return the kernel, or None where the image is not blurred."""
        if random.random() >= self.probability:
            return None
        if random.random() < self.sinc:
            return draw_sinc(random, narrowest_of_large=math.pi / 5)
        size = _draw_size(random)
        kind = draw_name(self.kinds, random)
        first = draw_uniform(self.sigma, random)
        second = first
        if kind.endswith("anisotropic"):
            second = draw_uniform(self.sigma, random)
        angle = random.uniform(-math.pi, math.pi)
        return Kernel(kind, size, (first, second), angle, self._draw_shape(kind, random))

    def _draw_shape(self, kind: str, random: np.random.Generator) -> float:
        if kind.startswith("plateau"):
            return draw_uniform(self.plateau_shape, random)
        if kind.startswith("generalised"):
            return _draw_about_one(self.generalised_shape, random)
        return 1.0


def _draw_about_one(bounds: Range, random: np.random.Generator) -> float:
    """Return a number between the bounds, as often below 1 as above it if 1 is between them.

    The authors' code draws the exponent of a generalised Gaussian so.
    """
    lowest, highest = bounds
    if not lowest < 1 < highest:
        return draw_uniform(bounds, random)
    if random.random() < 0.5:
        return draw_uniform((lowest, 1.0), random)
    return draw_uniform((1.0, highest), random)


def _draw_size(random: np.random.Generator) -> int:
    return 2 * draw_integer(_REACHES, random) + 1


def draw_sinc(random: np.random.Generator, *, narrowest_of_large: float = math.pi / 3) -> Kernel:
    """Return a sinc kernel, which rings at edges as sharpening and JPEG do.

    narrowest_of_large: the lowest cut-off frequency of a kernel of 13 pixels or more, in radians
    for each pixel.
    """
    size = _draw_size(random)
    lowest = narrowest_of_large if size >= _LARGE_KERNEL else math.pi / 3
    return Kernel("sinc", size, cutoff=draw_uniform((lowest, math.pi), random))


@dataclass(frozen=True)
class ResizeStep:
    """A resize to a larger, a smaller or the same size.

    Attributes:
        directions: The frequencies of `up`, `down` and `keep`.
        factor: The lowest and the highest factor; `down` draws from the lowest to 1, and `up` from
            1 to the highest.
    """

    directions: Mapping[Direction, float]
    factor: Range

    def draw(self, random: np.random.Generator) -> tuple[float, str]:
        """Return the factor of the size and the mode of the resize."""
        lowest, highest = self.factor
        direction = draw_name(self.directions, random)
        factor = 1.0
        if direction == "up":
            factor = draw_uniform((1.0, highest), random)
        elif direction == "down":
            factor = draw_uniform((lowest, 1.0), random)
        return factor, draw_mode(random)


def draw_mode(random: np.random.Generator) -> str:
    """Return one of the modes of `resample`, all equally probable."""
    return MODES[int(random.integers(len(MODES)))]


@dataclass(frozen=True)
class DrawnNoise:
    """The noise of an image. level: a sigma in units of 1/255, or a strength of Poisson noise."""

    kind: Literal["gaussian", "poisson"]
    level: float
    is_grey: bool


@dataclass(frozen=True)
class NoiseStep:
    """Gaussian or Poisson noise, for each channel or for all alike.

    Attributes:
        gaussian: The probability of Gaussian noise; otherwise it is Poisson noise.
        grey: The probability that all channels have the same noise.
        sigma: The range of Gaussian noise's standard deviation, in units of 1/255.
        strength: The range of the factor of Poisson noise.
    """

    gaussian: float
    grey: float
    sigma: Range
    strength: Range

    def draw(self, random: np.random.Generator) -> DrawnNoise:
        """Return what is drawn before the noise itself."""
        is_grey = random.random() < self.grey
        if random.random() < self.gaussian:
            return DrawnNoise("gaussian", draw_uniform(self.sigma, random), is_grey)
        return DrawnNoise("poisson", draw_uniform(self.strength, random), is_grey)

    def apply(self, image: Image, random: np.random.Generator) -> Image:
        """Return an HWC image with noise, in [0, 1]."""
        drawn = self.draw(random)
        if drawn.kind == "gaussian":
            return add_gaussian(image, drawn.level, random, is_grey=drawn.is_grey)
        return add_poisson(image, PEAK, random, strength=drawn.level, is_grey=drawn.is_grey)


@dataclass(frozen=True)
class Round:
    """One round: a blur, a resize and noise. JPEG compression follows it."""

    blur: BlurStep
    resize: ResizeStep
    noise: NoiseStep

    def apply(self, image: Image, size: tuple[int, int], random: np.random.Generator) -> Image:
        """Return an HWC image in [0, 1] after the round.

        size: the height and the width that the drawn factor multiplies.
        """
        for_blur, for_resize, for_noise = split(random, 3)
        kernel = self.blur.draw(for_blur)
        if kernel is not None:
            image = blur(image, kernel.values())
        factor, mode = self.resize.draw(for_resize)
        height = max(1, int(size[0] * factor))
        width = max(1, int(size[1] * factor))
        image = resample(image, height, width, mode)
        return self.noise.apply(image, for_noise)

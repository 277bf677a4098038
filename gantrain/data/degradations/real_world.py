"""Real-ESRGAN's degradation (Wang et al. 2021, arXiv 2107.10833)."""

from typing import Annotated

import numpy as np
from pydantic import Field

from gantrain.data.degradations.blur_kernels import Bell, blur
from gantrain.data.degradations.degradation import Degradation, Degraded, Image
from gantrain.data.degradations.jpeg import (
    check_jpeg_channels,
    compress,
    from_bytes,
    to_bytes,
)
from gantrain.data.degradations.option_types import (
    NOT_ALL_ZERO,
    Exponents,
    Factors,
    Frequency,
    Levels,
    Probability,
    Qualities,
    Sigmas,
    draw_integer,
)
from gantrain.data.degradations.random_streams import split
from gantrain.data.degradations.real_world_steps import (
    BlurStep,
    Direction,
    NoiseStep,
    ResizeStep,
    Round,
    draw_mode,
    draw_sinc,
)
from gantrain.data.degradations.resampling import resample

Kernels = Annotated[dict[Bell, Frequency], NOT_ALL_ZERO]
Directions = Annotated[dict[Direction, Frequency], NOT_ALL_ZERO]

KERNELS: dict[Bell, float] = {
    "isotropic": 0.45,
    "anisotropic": 0.25,
    "generalised_isotropic": 0.12,
    "generalised_anisotropic": 0.03,
    "plateau_isotropic": 0.12,
    "plateau_anisotropic": 0.03,
}
DIRECTIONS: dict[Direction, float] = {"up": 0.2, "down": 0.7, "keep": 0.1}
SECOND_DIRECTIONS: dict[Direction, float] = {"up": 0.3, "down": 0.4, "keep": 0.3}


class RealWorld(Degradation):
    """Real-ESRGAN's second-order degradation (Wang et al. 2021, arXiv 2107.10833).

    A photograph that was sent, saved and edited has been degraded more than once. Each of two
    rounds blurs the image, resizes it by a random factor, adds noise and compresses it as JPEG. At
    the end, the image gets its final size and is filtered by a sinc kernel. This stands before or
    after the second compression, both equally probable. The result is rounded to 8 bits.

    Where the paper leaves a choice open, the published code decides: the exponent of a generalised
    Gaussian is as often below 1 as above it, and resizes have no antialiasing. Four things differ
    from the code. JPEG is Pillow's, with integer qualities. Poisson noise counts 256 photons for a
    value of 1 in every image. The exponent of a plateau is uniform, as in the paper. The target is
    not sharpened before.

    Args:
        scale: How many times smaller the result is.
        kernels: How often each kind of kernel is drawn, in proportion. A kind without a number is
            not drawn.
        sinc: The probability that a blur has a sinc kernel instead of one of `kernels`.
        blur_sigma: The standard deviation of the first blur's kernel in pixels, [lowest, highest].
        second_blur: The probability of the second blur.
        second_blur_sigma: The standard deviation of the second blur's kernel in pixels.
        generalised_shape: The exponent of generalised Gaussians, [lowest, highest].
        plateau_shape: The exponent of plateaus, [lowest, highest].
        resize: How often the first resize makes the image larger, makes it smaller, or keeps its
            size, in proportion.
        resize_factor: The factor of the first resize, [lowest, highest], with 1 between them.
        second_resize: As `resize`, for the second resize.
        second_resize_factor: The factor of the second resize, relative to the final size.
        gaussian_noise: The probability that noise is Gaussian. Otherwise it is Poisson noise.
        grey_noise: The probability that all channels have the same noise.
        noise_sigma: The standard deviation of the first Gaussian noise, in units of 1/255.
        second_noise_sigma: The standard deviation of the second Gaussian noise.
        poisson_strength: The factor of the first Poisson noise, [lowest, highest].
        second_poisson_strength: The factor of the second Poisson noise.
        jpeg_quality: Pillow's quality of both compressions, 1 to 100, [lowest, highest].
        final_sinc: The probability of the sinc filter at the end.
    """

    def __init__(
        self,
        *,
        scale: Annotated[int, Field(ge=1, le=16)] = 4,
        kernels: Kernels = KERNELS,
        sinc: Probability = 0.1,
        blur_sigma: Sigmas = (0.2, 3.0),
        second_blur: Probability = 0.8,
        second_blur_sigma: Sigmas = (0.2, 1.5),
        generalised_shape: Exponents = (0.5, 4.0),
        plateau_shape: Exponents = (1.0, 2.0),
        resize: Directions = DIRECTIONS,
        resize_factor: Factors = (0.15, 1.5),
        second_resize: Directions = SECOND_DIRECTIONS,
        second_resize_factor: Factors = (0.3, 1.2),
        gaussian_noise: Probability = 0.5,
        grey_noise: Probability = 0.4,
        noise_sigma: Levels = (1.0, 30.0),
        second_noise_sigma: Levels = (1.0, 25.0),
        poisson_strength: Levels = (0.05, 3.0),
        second_poisson_strength: Levels = (0.05, 2.5),
        jpeg_quality: Qualities = (30, 95),
        final_sinc: Probability = 0.8,
    ) -> None:
        self.scale = scale
        self.jpeg_quality = jpeg_quality
        self.final_sinc = final_sinc
        self.first = Round(
            BlurStep(1.0, sinc, kernels, blur_sigma, generalised_shape, plateau_shape),
            ResizeStep(resize, resize_factor),
            NoiseStep(gaussian_noise, grey_noise, noise_sigma, poisson_strength),
        )
        self.second = Round(
            BlurStep(
                second_blur, sinc, kernels, second_blur_sigma, generalised_shape, plateau_shape
            ),
            ResizeStep(second_resize, second_resize_factor),
            NoiseStep(gaussian_noise, grey_noise, second_noise_sigma, second_poisson_strength),
        )

    def channels_after(self, channels: int) -> int:
        return check_jpeg_channels("real_world", channels)

    def degrade(self, image: Image, random: np.random.Generator) -> Degraded:
        """Return an image HWC of 1 or 3 channels."""
        size = self.size_after(*image.shape[:2])
        streams = split(random, 6)
        for_first, for_first_jpeg, for_second, for_second_jpeg, for_order, for_end = streams
        image = self.first.apply(image, image.shape[:2], for_first)
        image = compress(image, draw_integer(self.jpeg_quality, for_first_jpeg))
        image = self.second.apply(image, size, for_second)
        second_quality = draw_integer(self.jpeg_quality, for_second_jpeg)
        if for_order.random() < 0.5:
            image = compress(image, second_quality)
            image = self._finish(image, size, for_end)
        else:
            image = self._finish(image, size, for_end)
            image = compress(image, second_quality)
        return Degraded(from_bytes(to_bytes(image)))

    def _finish(self, image: Image, size: tuple[int, int], random: np.random.Generator) -> Image:
        """Return an HWC image at its final size (height, width), after the last sinc filter."""
        image = resample(image, *size, draw_mode(random))
        if random.random() >= self.final_sinc:
            return image
        return blur(image, draw_sinc(random).values())

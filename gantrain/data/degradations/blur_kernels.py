"""The blur kernels of Real-ESRGAN (arXiv 2107.10833), and the blur by one of them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gantrain.data.degradations.degradation import Image

Values = NDArray[np.float64]
Bell = Literal[
    "isotropic",
    "anisotropic",
    "generalised_isotropic",
    "generalised_anisotropic",
    "plateau_isotropic",
    "plateau_anisotropic",
]
KernelKind = Bell | Literal["sinc"]

# Points of the integral that gives a Bessel function. From 64 on, the error is that of rounding for
# arguments up to 45, which those of a kernel of 21 pixels do not exceed.
_BESSEL_POINTS = 96


@dataclass(frozen=True)
class Kernel:
    """A blur kernel, by its parameters.

    Attributes:
        kind: Its family.
        size: Its height and its width, in pixels; odd.
        sigmas: The standard deviations along its axes, in pixels. A sinc kernel has none.
        angle: The angle of its first axis, in radians.
        shape: The exponent beta of a generalised Gaussian or a plateau; 1 for a Gaussian.
        cutoff: The highest frequency that a sinc kernel passes, in radians for each pixel.
    """

    kind: KernelKind
    size: int
    sigmas: tuple[float, float] = (1.0, 1.0)
    angle: float = 0.0
    shape: float = 1.0
    cutoff: float = 0.0

    def values(self) -> Values:
        """Return the kernel, (size, size), whose sum is 1."""
        reach = self.size // 2
        x = np.arange(-reach, reach + 1.0)
        y = x[:, None]
        if self.kind == "sinc":
            values = _sinc(np.hypot(x, y), self.cutoff)
        else:
            values = self._bell(x, y)
        values /= values.sum()
        return values

    def _bell(self, x: Values, y: Values) -> Values:
        """Return a function that falls with the distance from the centre in units of sigma."""
        along = np.cos(self.angle) * x + np.sin(self.angle) * y
        across = np.cos(self.angle) * y - np.sin(self.angle) * x
        squared = (along / self.sigmas[0]) ** 2 + (across / self.sigmas[1]) ** 2
        powers: Values = squared**self.shape
        if self.kind.startswith("plateau"):
            return 1 / (1 + powers)
        return np.exp(-0.5 * powers)


def _sinc(radius: Values, cutoff: float) -> Values:
    """Return the circular low-pass filter cutoff * J1(cutoff * radius) / (2 * pi * radius)."""
    is_centre = radius == 0
    distance = np.where(is_centre, 1.0, radius)
    values = cutoff * bessel_j1(cutoff * distance) / (2 * np.pi * distance)
    return np.where(is_centre, cutoff**2 / (4 * np.pi), values)


def bessel_j1(x: Values) -> Values:
    """Return the Bessel function of the first kind and of order 1, for 0 <= x <= 45.

    It is the mean of cos(angle - x * sin(angle)) over angles from 0 to pi.
    """
    angles = (np.arange(_BESSEL_POINTS) + 0.5) * (np.pi / _BESSEL_POINTS)
    distinct, places = np.unique(x, return_inverse=True)
    means: Values = np.cos(angles - distinct[:, None] * np.sin(angles)).mean(axis=1)
    return means[places].reshape(x.shape)


def blur(image: Image, kernel: Values) -> Image:
    """Return an HWC image, correlated with a kernel. The image is mirrored at its borders.

    The kernels here are symmetric about their centre, so that this is a convolution as well.
    Values may leave [0, 1].
    """
    reach = kernel.shape[0] // 2
    height, width = image.shape[:2]
    planes = np.moveaxis(image, 2, 0)
    mirrored = np.pad(planes, ((0, 0), (reach, reach), (reach, reach)), mode="reflect")
    size = (_fast_length(mirrored.shape[1]), _fast_length(mirrored.shape[2]))
    spectrum = np.fft.rfft2(mirrored, size) * np.fft.rfft2(kernel.astype(np.float32), size)
    blurred = np.fft.irfft2(spectrum, size)
    # The first pixels hold what wraps around.
    start = 2 * reach
    inside = blurred[:, start : start + height, start : start + width]
    return np.ascontiguousarray(np.moveaxis(inside, 0, 2), np.float32)


def _fast_length(length: int) -> int:
    """Return the smallest number that is not smaller and has no prime factor above 5."""
    while not _is_smooth(length):
        length += 1
    return length


def _is_smooth(number: int) -> bool:
    for factor in (2, 3, 5):
        while number % factor == 0:
            number //= factor
    return number == 1

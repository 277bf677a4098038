"""Resize images as weighted sums of pixels, the same on every machine and for any thread count."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gantrain.data.degradations.degradation import Image

Mode = Literal["area", "bilinear", "bicubic"]


@dataclass(frozen=True)
class Taps:
    """The pixels that each pixel of a resized axis is made of.

    Attributes:
        indices: The places of these pixels, (pixels of the resized axis, taps).
        weights: Their weights, of the same shape. Each row has the sum 1.
    """

    indices: NDArray[np.intp]
    weights: NDArray[np.float32]


def cubic(distance: NDArray[np.float64], a: float) -> NDArray[np.float64]:
    """Return Keys' cubic kernel (1981) at distances in pixels. a: its slope at distance 1."""
    x = np.abs(distance)
    inner = (a + 2) * x**3 - (a + 3) * x**2 + 1
    outer = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x <= 1, inner, np.where(x < 2, outer, 0.0))


def _centres(before: int, after: int) -> NDArray[np.float64]:
    """Return the places of the resized pixels' centres, in pixels of the axis before."""
    places = np.arange(after, dtype=np.float64)
    return (places + 0.5) * (before / after) - 0.5


def _area(before: int, after: int) -> Taps:
    """Each pixel is the mean of all pixels that it touches, as in adaptive average pooling."""
    places = np.arange(after)
    first = places * before // after
    end = -(-(places + 1) * before // after)
    offsets = np.arange((end - first).max())
    indices = first[:, None] + offsets
    is_touched = indices < end[:, None]
    weights = is_touched / is_touched.sum(axis=1, keepdims=True)
    return Taps(indices.clip(max=before - 1), weights.astype(np.float32))


def _bilinear(before: int, after: int) -> Taps:
    centres = _centres(before, after).clip(min=0)
    first = np.floor(centres).astype(np.intp)
    fraction = centres - first
    indices = np.stack([first, first + 1], axis=1)
    weights = np.stack([1 - fraction, fraction], axis=1)
    return Taps(indices.clip(max=before - 1), weights.astype(np.float32))


def _bicubic(before: int, after: int) -> Taps:
    """The kernel has a = -0.75, as in OpenCV and PyTorch, and no antialiasing."""
    centres = _centres(before, after)
    first = np.floor(centres).astype(np.intp) - 1
    indices = first[:, None] + np.arange(4)
    weights = cubic(centres[:, None] - indices, a=-0.75)
    return Taps(indices.clip(0, before - 1), weights.astype(np.float32))


_TAPS: dict[str, Callable[[int, int], Taps]] = {
    "area": _area,
    "bilinear": _bilinear,
    "bicubic": _bicubic,
}
MODES = tuple(_TAPS)


def resample(image: Image, height: int, width: int, mode: str) -> Image:
    """Return an HWC image at another size. Bicubic values may leave [0, 1].

    The modes are those of `torch.nn.functional.interpolate` with a size and without antialiasing.
    """
    taps_of = _TAPS[mode]
    if height != image.shape[0]:
        taps = taps_of(image.shape[0], height)
        image = _weighted_sum(taps, lambda places: image[places], (height, 1, 1))
    if width != image.shape[1]:
        columns = image
        taps = taps_of(image.shape[1], width)
        image = _weighted_sum(taps, lambda places: columns[:, places], (1, width, 1))
    return image


def _weighted_sum(
    taps: Taps, pixels_at: Callable[[NDArray[np.intp]], Image], shape: tuple[int, int, int]
) -> Image:
    """Return the sum over the taps. shape: that of one tap's weights, beside the image."""
    total = pixels_at(taps.indices[:, 0]) * taps.weights[:, 0].reshape(shape)
    for tap in range(1, taps.indices.shape[1]):
        total += pixels_at(taps.indices[:, tap]) * taps.weights[:, tap].reshape(shape)
    return total

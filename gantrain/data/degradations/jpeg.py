"""Compression with loss."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from gantrain.core.errors import UserError
from gantrain.data.degradations.degradation import Degradation, Degraded, Image
from gantrain.data.degradations.option_types import Qualities, draw_integer
from gantrain.data.pillow_pixels import as_pillow

QUALITIES = (10, 40)


class Jpeg(Degradation):
    """JPEG compression, as by Pillow at its default settings: half of the resolution in colour.

    The image is rounded to 8 bits before. The default qualities are those of AR-CNN (Dong et al.
    2015, arXiv 1504.06993).

    Args:
        quality: Pillow's quality, 1 to 100: a number, or [lowest, highest], from which each sample
            draws an integer.
    """

    def __init__(self, *, quality: Qualities = QUALITIES) -> None:
        self.quality = quality

    def channels_after(self, channels: int) -> int:
        return check_jpeg_channels("jpeg", channels)

    def degrade(self, image: Image, random: np.random.Generator) -> Degraded:
        """Return an image HWC of 1 or 3 channels."""
        return Degraded(compress(image, draw_integer(self.quality, random)))


def check_jpeg_channels(name: str, channels: int) -> int:
    """Return the number of channels. Raises UserError for those that JPEG cannot hold."""
    if channels not in (1, 3):
        raise UserError(
            f"{name} takes images of 1 or 3 channels, as JPEG files have; these have {channels}"
        )
    return channels


def compress(image: Image, quality: int) -> Image:
    """Return what a JPEG file of an HWC image holds. Values beyond [0, 1] are clipped."""
    pixels = to_bytes(image)
    file = io.BytesIO()
    as_pillow(pixels).save(file, "JPEG", quality=quality)
    with PillowImage.open(file) as opened:
        decoded = np.asarray(opened).reshape(image.shape)
    return from_bytes(decoded)


def to_bytes(image: Image) -> NDArray[np.uint8]:
    """Return an image in 8 bits. Values beyond [0, 1] are clipped."""
    return (image.clip(0, 1) * 255).round().astype(np.uint8)


def from_bytes(pixels: NDArray[np.uint8]) -> Image:
    """Return an image in [0, 1]."""
    return pixels.astype(np.float32) / np.float32(255)

"""Read the header of an image file: its size, mode and format, before any pixel is decoded."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from PIL import Image

from gantrain.core.errors import UserError

MOST_PIXELS = 2**28  # of one image, such as 16384x16384: 0.8 GB in RGB
_PILLOWS_LIMIT = threading.Lock()  # held while Pillow's own limit is lifted


def open_header(source: Path | IO[bytes], formats: Sequence[str]) -> Image.Image:
    """Read the header of an image file in one of the formats.

    Pillow itself warns of 89 million pixels and refuses twice as many, which a scene from a
    satellite may have. Raises UserError for more than MOST_PIXELS, and Pillow's errors.
    """
    with _PILLOWS_LIMIT:
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            image: Image.Image = Image.open(source, formats=tuple(formats))
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    if image.width * image.height > MOST_PIXELS:
        advice = "cut it into tiles, or save it as .npy"
        raise UserError(
            f"{image.height}x{image.width}, allowed: at most {MOST_PIXELS} pixels; {advice}"
        )
    return image

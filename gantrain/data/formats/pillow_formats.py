"""The formats that Pillow reads."""

import io

from PIL import Image

from gantrain.data.formats.image_format import ImageFormat
from gantrain.data.headers import open_header

# By Pillow's names.
PILLOW_NAMES = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "PPM", "GIF")


class PillowFormats(ImageFormat):
    """JPEG, PNG, TIFF, WebP, BMP, PPM and GIF. The bytes decide which of them a file is."""

    extensions = (
        "jpg",
        "jpeg",
        "jfif",
        "png",
        "tif",
        "tiff",
        "webp",
        "bmp",
        "ppm",
        "pgm",
        "pbm",
        "pnm",
        "gif",
    )
    is_fallback = True

    def recognises(self, data: bytes) -> bool:
        return True

    def open(self, data: bytes) -> Image.Image:
        """Return the image with its header read. Raises Pillow's errors, and UserError."""
        return open_header(io.BytesIO(data), PILLOW_NAMES)

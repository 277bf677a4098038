"""The contract of a file format."""

from typing import Any, ClassVar

from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]  # HW or HWC


class ImageFormat:
    """Reads the files of a format.

    Attributes:
        extensions: The endings of the files' names, in lower case and without the dot.
        is_fallback: The reader takes the bytes that no other format recognises.
    """

    extensions: ClassVar[tuple[str, ...]] = ()
    is_fallback: ClassVar[bool] = False

    def recognises(self, data: bytes) -> bool:
        """Return whether a file's bytes begin as those of this format."""
        raise NotImplementedError

    def open(self, data: bytes) -> Image.Image | Array:
        """Return a file's content: a Pillow image that is not loaded yet, or an array, HW or HWC.

        An array has the file's own values: uint8, uint16, int16 or float32. Raises any error for
        bytes that are damaged. gantrain then names the file in one line.
        """
        raise NotImplementedError

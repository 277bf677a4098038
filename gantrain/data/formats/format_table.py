"""The table of file formats."""

from gantrain.core.errors import UserError
from gantrain.core.own_code import naming_failure
from gantrain.data.formats.image_format import ImageFormat
from gantrain.data.formats.numpy_format import NumpyFormat
from gantrain.data.formats.pillow_formats import PillowFormats

FORMATS: dict[str, ImageFormat] = {"pillow": PillowFormats(), "npy": NumpyFormat()}


def format_of(data: bytes) -> ImageFormat:
    """Return the format that reads a file's bytes: one that recognises them, or the fallback."""
    recognising: list[ImageFormat] = []
    for known in _formats():
        with naming_failure(known, "recognises"):
            is_recognised = known.recognises(data)
        if is_recognised:
            recognising.append(known)
    for known in recognising:
        if not known.is_fallback:
            return known
    return recognising[0]


def extensions() -> tuple[str, ...]:
    """Return the endings of files' names, of all formats."""
    endings: list[str] = []
    for known in _formats():
        endings += known.extensions
    return tuple(dict.fromkeys(endings))


def _formats() -> list[ImageFormat]:
    """Return the formats of the table. Raises UserError for an entry that is none."""
    for name, known in FORMATS.items():
        if not isinstance(known, ImageFormat):
            raise UserError(
                f"FORMATS[{name!r}]: found {known!r:.60}, allowed: an instance of a subclass of"
                " gantrain.ImageFormat"
            )
    return list(FORMATS.values())

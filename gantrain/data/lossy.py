"""Recognises files whose compression changes values, which class ids do not survive."""

import io
from collections.abc import Iterator

from gantrain.data.headers import open_header

_TIFF = (b"II*\0", b"MM\0*")
_COMPRESSION = 259  # TIFF's tag
_JPEG_IN_TIFF = (6, 7, 34892)  # other compressions of TIFF are lossless, or may be


def lossy_format(data: bytes) -> str | None:
    """Name what loses values in an image file, or return None. Bytes of no image give None too."""
    if data.startswith(b"\xff\xd8"):
        return "JPEG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "lossy WebP" if b"VP8 " in _chunks(data) else None
    if data.startswith(_TIFF):
        return _lossy_tiff(data)
    return None


def _chunks(data: bytes) -> Iterator[bytes]:
    """The names of a RIFF file's chunks."""
    place = 12
    while place + 8 <= len(data):
        yield data[place : place + 4]
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        place += 8 + length + length % 2


def _lossy_tiff(data: bytes) -> str | None:
    try:
        with open_header(io.BytesIO(data), ("TIFF",)) as image:
            compression = getattr(image, "tag_v2", {}).get(_COMPRESSION, 0)
    except Exception:  # decoding it says what is wrong
        return None
    return "TIFF with JPEG compression" if compression in _JPEG_IN_TIFF else None

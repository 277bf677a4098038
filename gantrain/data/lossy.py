"""Recognise files whose compression changes values, and so class ids too."""

import io
from collections.abc import Iterator

from gantrain.data.headers import open_header

_JPEG = b"\xff\xd8"
_TIFF = (b"II*\0", b"MM\0*")
_RIFF = b"RIFF"
_RIFF_HEADER_BYTES = 8  # `RIFF` and the file's length, before the kind of content
_WEBP = b"WEBP"
_CHUNK_HEADER_BYTES = 8  # a name and a length, of 4 bytes each
_COMPRESSION = 259  # TIFF's tag
_JPEG_IN_TIFF = (6, 7, 34892)  # other compressions of TIFF are lossless, or may be


def lossy_format(data: bytes) -> str | None:
    """Name what loses values in an image file, or return None. Bytes of no image give None too."""
    if data.startswith(_JPEG):
        return "JPEG"
    if data.startswith(_RIFF) and data.startswith(_WEBP, _RIFF_HEADER_BYTES):
        return "lossy WebP" if b"VP8 " in _chunks(data) else None
    if data.startswith(_TIFF):
        return _lossy_tiff(data)
    return None


def _chunks(data: bytes) -> Iterator[bytes]:
    """Yield the names of a RIFF file's chunks."""
    start = _RIFF_HEADER_BYTES + len(_WEBP)
    while start + _CHUNK_HEADER_BYTES <= len(data):
        header = data[start : start + _CHUNK_HEADER_BYTES]
        yield header[:4]
        length = int.from_bytes(header[4:], "little")
        start += _CHUNK_HEADER_BYTES + length + length % 2  # chunks have an even length


def _lossy_tiff(data: bytes) -> str | None:
    try:
        with open_header(io.BytesIO(data), ("TIFF",)) as image:
            compression = getattr(image, "tag_v2", {}).get(_COMPRESSION, 0)
    except Exception:  # decoding it says what is wrong
        return None
    return "TIFF with JPEG compression" if compression in _JPEG_IN_TIFF else None

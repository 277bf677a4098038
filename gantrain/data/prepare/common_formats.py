"""The formats of files in shards: those that WebDataset's users expect are kept byte for byte."""

from pathlib import Path

from gantrain.data.decode import decode, encode, lossless

_USUAL = ("jpg", "jpeg", "png", "tif", "tiff", "webp", "npy")
# First bytes of BMP, GIF, and of PBM, PGM, PPM and their relatives.
_CONVERTED = (b"BM", b"GIF8", b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"P7")
_BY_CONTENT = {
    b"\xff\xd8": "jpg",
    b"\x89PNG": "png",
    b"II*\0": "tif",
    b"MM\0*": "tif",
    b"RIFF": "webp",
    b"\x93NUMPY": "npy",
}


def read_as_usual(file: Path, kind: str) -> tuple[str, bytes]:
    """Return the extension and the bytes with which a file is packed."""
    data = file.read_bytes()
    extension = usual_extension(file.suffix.lower()[1:], data)
    if extension:
        return extension, data
    array = decode(data, kind)
    extension = lossless(array.shape[2], array.dtype.name)
    return extension, encode(array, extension)


def usual_extension(extension: str, data: bytes) -> str | None:
    """Return the extension of a file that is packed as it is.

    The result is None for BMP, PPM, GIF and the like, which become PNG. extension: the file's own,
    in lower case and without the dot.
    """
    if data.startswith(_CONVERTED):
        return None
    if extension in _USUAL:
        return extension
    for start, usual in _BY_CONTENT.items():
        if data.startswith(start):
            return usual
    return None

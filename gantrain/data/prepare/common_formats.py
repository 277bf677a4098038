"""Which files go into shards byte for byte: those in the formats that WebDataset's users expect
there.
"""

from pathlib import Path

from gantrain.data.decode import Kind, decode, encode, lossless

_USUAL = ("jpg", "jpeg", "png", "tif", "tiff", "webp", "npy")
# By their first bytes. PBM, PGM, PPM and their relatives begin with P1 to P7.
_CONVERTED = (b"BM", b"GIF8", *(b"P%d" % digit for digit in range(1, 8)))
_BY_CONTENT = {
    b"\xff\xd8": "jpg",
    b"\x89PNG": "png",
    b"II*\0": "tif",
    b"MM\0*": "tif",
    b"RIFF": "webp",
    b"\x93NUMPY": "npy",
}


def read_as_usual(file: Path, kind: Kind) -> tuple[str, bytes]:
    """The extension and the bytes under which a file is packed."""
    data = file.read_bytes()
    extension = usual_extension(file.suffix.lower()[1:], data)
    if extension:
        return extension, data
    array = decode(data, kind)
    extension = lossless(array.shape[2], array.dtype.name)
    return extension, encode(array, extension)


def usual_extension(extension: str, data: bytes) -> str | None:
    """The extension under which a file is packed as it is; None for BMP, PPM, GIF and the like,
    which become PNG.

    extension: the file's own, in lower case and without the dot.
    """
    if data.startswith(_CONVERTED):
        return None
    if extension in _USUAL:
        return extension
    for start, usual in _BY_CONTENT.items():
        if data.startswith(start):
            return usual
    return None

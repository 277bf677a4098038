"""Bytes to arrays and back, keeping what is there: depth, channels, class ids.

Read are JPEG, PNG, TIFF, WebP and `.npy`, told by their bytes, never by a name; several channels of
16 bits only from `.npy`. An EXIF orientation is applied, as viewers do.
"""

import colorsys
import io
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from gantrain.data.shards import DamagedSample, Shards

Array = NDArray[Any]  # HWC
Colour = tuple[int, int, int]
Kind = Literal["image", "label", "instances"]

FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "PPM", "GIF")
EXTENSIONS = ("jpg", "jpeg", "jfif", "png", "tif", "tiff", "webp", "npy", "bmp", "ppm", "pgm", "pbm", "pnm", "gif")
DTYPES = ("uint8", "uint16", "float32")
_IDS = {"label": "class ids", "instances": "ids of instances"}
_WIDE = ("I", "I;16", "I;16B")  # Pillow's modes for integers of more than 8 bits
_KEPT = ("L", "LA", "RGB", "RGBA", "F", *_WIDE)  # modes that hold what the file holds


class NotLabels(ValueError):
    """A file that decodes but can't hold ids."""


def decode(data: bytes, kind: Kind = "image") -> Array:
    """The array (HWC; uint8, uint16 or float32; values as stored) in an image file's bytes.

    A palette PNG gives its indices for `label`, its colours for `image`; 1-bit files 0 and 1 for
    `label`, 0 and 255 for `image`. `instances` are ids too, always uint16. Raises ValueError, in one
    line, if the bytes don't decode or can't be kept as they are; NotLabels if they can't be ids.
    """
    refuse_lossy(data, kind)
    try:
        npy = data.startswith(b"\x93NUMPY")
        array = np.load(io.BytesIO(data), allow_pickle=False) if npy else _from_image(data, kind)
    except Exception as error:  # Pillow's plugins raise nearly anything on a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):  # its message names an address in memory
            reason = f"cannot identify it as {', '.join(FORMATS)} or npy"
        raise ValueError(f"does not decode: {reason}") from None
    return _checked(array, kind)


def refuse_lossy(data: bytes, kind: Kind) -> None:
    """Raises NotLabels for a JPEG of ids."""
    if kind != "image" and data.startswith(b"\xff\xd8"):
        raise NotLabels(f"a JPEG where {_IDS[kind]} are expected: its loss changes ids; save as PNG")


def decode_sample(shards: Shards, i: int, fields: Iterable[str]) -> dict[str, Array]:
    """The wanted fields of sample `i` as writable HWC arrays of one height and width.

    Each member is read and decoded once, also where two fields are its halves. Raises DamagedSample
    if any of it can't be read, isn't what the index says, or differs in size from the others.
    """
    decoded = cache(lambda member, kind: decode(shards.read(i, member), kind))
    found: dict[str, Array] = {}
    for name in fields:
        field = shards.fields[name]
        try:
            found[name] = array = cut(decoded(field.member, field.kind), field.half)
            if (array.shape[2], array.dtype.name) != (field.channels, field.dtype):
                what = f"{array.shape[2]} channels of {array.dtype}"
                raise ValueError(f"{what}, the index says {field.channels} of {field.dtype}")
        except ValueError as error:
            raise DamagedSample(f"{shards.where(i)}: {name}: {error}") from None
    if listed := unequal(found):
        raise DamagedSample(f"{shards.where(i)}: fields differ in size: {listed}")
    return found


def unequal(sample: dict[str, Array]) -> str:
    """The fields' sizes, for people, where they differ."""
    sizes = {name: f"{array.shape[0]}x{array.shape[1]}" for name, array in sample.items()}
    return ", ".join(map(" ".join, sizes.items())) if len(set(sizes.values())) > 1 else ""


def cut(array: Array, half: int | None) -> Array:
    """The left (0) or right (1) half of an HWC array, or all of it (None), without a copy."""
    if half is None:
        return array
    width = array.shape[1]
    if width % 2:
        raise ValueError(f"width {width} is odd, two halves side by side need an even one")
    return array[:, half * width // 2 : (half + 1) * width // 2]


def lossless(channels: int, dtype: str) -> str:
    """The extension that keeps such an array: `png`, or `npy` where PNG can't hold it."""
    return "png" if channels <= {"uint8": 4, "uint16": 1}.get(dtype, 0) else "npy"


def encode(array: Array, extension: str) -> bytes:
    """An HW or HWC array as the bytes of a `jpg` (quality 95, full chroma), `png` or `npy`.

    Raises ValueError for what the format can't hold.
    """
    array = array[..., None] if array.ndim == 2 else array
    channels, dtype = array.shape[2], array.dtype.name
    stream = io.BytesIO()
    if extension == "npy":
        np.save(stream, array, allow_pickle=False)
    elif extension == "jpg" and dtype == "uint8" and channels in (1, 3):
        _image(array).save(stream, "JPEG", quality=95, subsampling=0)
    elif extension == "png" == lossless(channels, dtype):
        _image(array).save(stream, "PNG")
    else:
        raise ValueError(f"{channels} channels of {dtype} do not fit into .{extension}; use npy")
    return stream.getvalue()


def resize(array: Array, height: int, width: int, kind: Kind = "image") -> Array:
    """An HWC array at another size: bicubic with antialiasing, nearest for ids."""
    method = Image.Resampling.BICUBIC if kind == "image" else Image.Resampling.NEAREST
    if array.dtype == np.uint8 and array.shape[2] in (1, 3):
        return np.array(_image(array).resize((width, height), method)).reshape(height, width, -1)
    # Plane by plane as floats: Pillow would premultiply RGBA and clip uint16.
    planes = map(Image.fromarray, np.moveaxis(array, 2, 0).astype(np.float32))
    resized = np.stack([np.asarray(p.resize((width, height), method)) for p in planes], axis=2)
    resized = resized.clip(array.min(), array.max())  # bicubic overshoots at edges
    return (resized if array.dtype == np.float32 else resized.round()).astype(array.dtype)


def _image(array: Array) -> Image.Image:
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def palette(classes: int, given: Sequence[Colour] = ()) -> list[Colour]:
    """A colour (RGB, 0..255) for each class id: those given, then others well apart; 0 is black."""
    colours = [*given[:classes]] or [(0, 0, 0)]
    for i in range(len(colours), classes):
        # Hues a golden ratio apart never come close to their neighbours'.
        rgb = colorsys.hsv_to_rgb(i * 0.618034 % 1, (0.85, 0.5, 0.7)[i % 3], (0.95, 0.65)[i % 2])
        colours.append(tuple(round(255 * c) for c in rgb))  # type: ignore[arg-type]
    return colours


def _from_image(data: bytes, kind: Kind) -> Array:
    image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
    # A phone's JPEG ("MPO") carries a preview or depth map besides the photograph.
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        raise ValueError("several images in one file, expected one")
    # Pillow drops the low bits of 16-bit colour and unknown extra channels without a word.
    bands, tags = len(image.getbands()), getattr(image, "tag_v2", {})
    bits = data[24] if image.format == "PNG" else max(tags.get(258, (1,)))
    channels = tags.get(277, 1) if image.format == "TIFF" else bands
    if channels != bands or (bits > 8 and bands > 1):
        raise ValueError(f"Pillow cannot keep {channels} channels with {bits} bits; save as .npy")
    image = ImageOps.exif_transpose(image)
    if kind != "image" and image.mode in ("1", "P"):
        return np.array(image, np.uint8)
    if image.mode not in _KEPT:
        colours = "RGBA" if image.has_transparency_data else "RGB"
        image = image.convert("L" if image.mode == "1" else colours)
    return _narrow(np.array(image)) if image.mode in _WIDE else np.array(image)


def _checked(array: Array, kind: Kind) -> Array:
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise ValueError(f"array of shape {list(array.shape)}, expected height x width (x channels), not empty")
    array = array[..., None] if array.ndim == 2 else array
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    if kind != "image" and array.dtype.kind in "iu" and (kind == "instances" or array.dtype.name not in DTYPES):
        array = _narrow(array)  # maps of few instances have 8 bits, others beside them 16
    if array.dtype.name not in DTYPES:
        raise ValueError(f"array of {array.dtype}, expected one of {', '.join(DTYPES)}")
    if kind != "image" and (array.dtype == np.float32 or array.shape[2] != 1):
        found = {3: "RGB", 4: "RGBA"}.get(array.shape[2], f"{array.shape[2]}-channel {array.dtype}")
        raise NotLabels(f"{found} where {_IDS[kind]} are expected; save them as a one-channel PNG")
    if array.dtype == np.float32 and not np.isfinite(array).all():
        raise ValueError("the array holds NaN or infinite values")
    return array


def _narrow(array: Array) -> Array:
    """Wider integers as uint16, refused where they don't fit."""
    if array.min() < 0 or array.max() > 65535:
        raise ValueError(f"values {array.min()}..{array.max()}, at most 0..65535 can be read")
    return array.astype(np.uint16)

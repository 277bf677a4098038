"""Bytes to arrays and back, keeping what is there: depth, channels, class ids.

Arrays are HWC, uint8, uint16 or float32. Read are JPEG, PNG (8 and 16 bits), TIFF, WebP and `.npy`;
the format is told by the bytes, never by a name. An EXIF orientation is applied, as viewers do.
"""

import colorsys
import io
import struct
import zlib
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from gantrain.data.index import Dtype
from gantrain.data.shards import DamagedSample, Field, Shards

Array = NDArray[Any]  # HWC
Kind = Literal["image", "label"]

FORMATS = ("JPEG", "PNG", "TIFF", "WEBP")
EXTENSIONS = ("jpg", "jpeg", "png", "tif", "tiff", "webp", "npy")
DTYPES = ("uint8", "uint16", "float32")
_PNG = b"\x89PNG\r\n\x1a\n"
_KEPT = ("L", "LA", "RGB", "RGBA", "I;16", "I", "F")  # modes that hold what the file holds


class NotLabels(ValueError):
    """A file that decodes but can't hold class ids."""


def decode(data: bytes, kind: Kind = "image", field: Field | None = None) -> Array:
    """The array (HWC; uint8, uint16 or float32; values as stored) in an image file's bytes.

    A palette PNG gives its indices for `label`, its colours for `image`; 1-bit files 0 and 1 for
    `label`, 0 and 255 for `image`. With `field`, one of its halves is cut out where it has one, and
    channels and dtype must be the field's.

    Raises ValueError, in one line, if the bytes don't decode or aren't what is expected (NotLabels
    for a readable file that can't hold class ids).
    """
    try:
        array = _from_npy(data, kind) if data[:6] == b"\x93NUMPY" else _from_image(data, kind)
    except NotLabels:
        raise
    except ValueError as error:
        raise ValueError(_line(error)) from None
    except UnidentifiedImageError:  # Pillow's message names an address in memory
        known = ", ".join(FORMATS)
        raise ValueError(f"does not decode: cannot identify it as {known} or npy") from None
    except Exception as error:  # Pillow's plugins raise nearly anything on a damaged file
        raise ValueError(f"does not decode: {_line(error)}") from None
    if kind == "label" and array.shape[2] != 1:
        raise NotLabels(
            f"{_colours(array)} where class ids are expected; save the ids as a one-channel PNG"
        )
    return array if field is None else _of_field(array, field)


def decode_sample(shards: Shards, i: int, fields: Iterable[str]) -> dict[str, Array]:
    """The wanted fields of sample `i` as writable HWC arrays of one height and width.

    Each member is read and decoded once, also where two fields are its halves. Raises DamagedSample
    if any of it can't be read, isn't what the index says, or differs in size from the others.
    """
    wanted = {name: shards.fields[name] for name in fields}
    members: dict[tuple[str, Kind], Array] = {}
    found: dict[str, Array] = {}
    for name, field in wanted.items():
        source = (field.member, field.kind)
        try:
            if source not in members:
                members[source] = decode(shards.read(i, field.member), field.kind)
            found[name] = _of_field(members[source], field)
        except ValueError as error:
            raise DamagedSample(f"{shards.where(i)}: {name}: {error}") from None
    sizes = {name: array.shape[:2] for name, array in found.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {size[0]}x{size[1]}" for name, size in sizes.items())
        raise DamagedSample(f"{shards.where(i)}: fields differ in size: {listed}")
    return found


def _of_field(array: Array, field: Field) -> Array:
    array = cut(array, field.half)
    found, said = (array.shape[2], str(array.dtype)), (field.channels, field.dtype)
    if found != said:
        raise ValueError(
            f"{found[0]} channels of {found[1]}, the index says {said[0]} of {said[1]}"
        )
    return array


def cut(array: Array, half: int | None) -> Array:
    """The left (0) or right (1) half of an HWC array, or all of it (None), without a copy."""
    if half is None:
        return array
    width = array.shape[1]
    if width % 2:
        raise ValueError(f"width {width} is odd, two halves side by side need an even one")
    return array[:, half * width // 2 : (half + 1) * width // 2]


def encode(array: Array, extension: str) -> bytes:
    """An HW or HWC array as the bytes of a `jpg` (quality 95, full chroma), `png` or `npy`.

    JPEG takes uint8 with 1 or 3 channels, PNG uint8 or uint16 with 1 to 4, npy anything.
    Raises ValueError for what the format can't hold.
    """
    array = array[..., None] if array.ndim == 2 else array
    channels, dtype = array.shape[2], str(array.dtype)
    stream = io.BytesIO()
    if extension == "npy":
        np.save(stream, array, allow_pickle=False)
    elif extension in ("jpg", "jpeg") and dtype == "uint8" and channels in (1, 3):
        _image(array).save(stream, "JPEG", quality=95, subsampling=0)
    elif extension == "png" and dtype == "uint8" and channels <= 4:
        _image(array).save(stream, "PNG")
    elif extension == "png" and dtype == "uint16" and channels <= 4:
        stream.write(_png16(array))
    else:
        raise ValueError(
            f"{channels} channels of {dtype} do not fit into .{extension}: jpg holds uint8 with 1 "
            "or 3, png uint8 or uint16 with up to 4, npy anything"
        )
    return stream.getvalue()


def resize(array: Array, height: int, width: int, kind: Kind = "image") -> Array:
    """An HWC array at another size: bicubic with antialiasing, nearest for `label`."""
    method = Image.Resampling.NEAREST if kind == "label" else Image.Resampling.BICUBIC
    planes = []
    for plane in np.moveaxis(array, 2, 0):
        # Pillow resizes float planes of any range; it would premultiply RGBA and clip uint16.
        plane = Image.fromarray(plane if array.dtype == np.uint8 else plane.astype(np.float32))
        planes.append(np.asarray(plane.resize((width, height), method)))
    resized = np.stack(planes, axis=2)
    if array.dtype == np.uint16:
        resized = resized.round().clip(0, 65535)
    return resized.astype(array.dtype)


def dtype_of(array: Array) -> Dtype:
    """The dtype's name of a decoded array."""
    name: Dtype = array.dtype.name  # type: ignore[assignment]
    assert name in DTYPES
    return name


def palette(classes: int) -> list[tuple[int, int, int]]:
    """A colour (RGB, 0..255) for each class id where the data bring none: well apart, 0 black."""
    colours = [(0, 0, 0)]
    for i in range(1, classes):
        # Hues a golden ratio apart never come close to their neighbours'.
        rgb = colorsys.hsv_to_rgb(i * 0.618034 % 1, (0.85, 0.5, 0.7)[i % 3], (0.95, 0.65)[i % 2])
        colours.append(tuple(round(255 * c) for c in rgb))  # type: ignore[arg-type]
    return colours[:classes]


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _colours(array: Array) -> str:
    return {3: "RGB", 4: "RGBA"}.get(array.shape[2], f"{array.shape[2]} channels")


def _from_npy(data: bytes, kind: Kind) -> Array:
    array: Array = np.load(io.BytesIO(data), allow_pickle=False)
    if array.ndim not in (2, 3):
        raise ValueError(
            f"array of shape {list(array.shape)}, expected height x width (x channels)"
        )
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    elif kind == "label" and array.dtype.kind in "iu" and str(array.dtype) not in DTYPES:
        array = _narrow(array)
    if str(array.dtype) not in DTYPES:
        raise ValueError(f"array of {array.dtype}, expected one of {', '.join(DTYPES)}")
    return _checked(array, kind)


def _from_image(data: bytes, kind: Kind) -> Array:
    image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
    if kind == "label" and image.format in ("JPEG", "MPO"):
        raise NotLabels("a JPEG where class ids are expected: its loss changes ids; save as PNG")
    # A phone's JPEG ("MPO") carries a preview or depth map besides the photograph.
    if getattr(image, "n_frames", 1) > 1 and image.format not in ("JPEG", "MPO"):
        raise ValueError("several images in one file, expected one")
    depth = data[24] if data.startswith(_PNG) else 8
    if depth == 16 and image.mode in ("RGB", "RGBA"):
        return _checked(_colour16(data), kind)
    if image.format == "TIFF":
        _refuse_lossy_tiff(image)
    image = ImageOps.exif_transpose(image)
    if kind == "label" and image.mode == "P":
        return _checked(np.array(image), kind)
    if kind == "label" and image.mode == "1":
        return _checked(np.array(image).astype(np.uint8), kind)
    if image.mode not in _KEPT:
        clear = image.mode == "PA" or "transparency" in image.info
        image = image.convert("L" if image.mode == "1" else "RGBA" if clear else "RGB")
    array = np.array(image)
    return _checked(_narrow(array) if image.mode in ("I", "I;16") else array, kind)


def _checked(array: Array, kind: Kind) -> Array:
    array = array[..., None] if array.ndim == 2 else array
    if 0 in array.shape:
        raise ValueError(f"empty array of shape {list(array.shape)}")
    if array.dtype == np.float32 and kind == "label":
        raise NotLabels("float32 where class ids are expected; save whole numbers")
    if array.dtype == np.float32 and not np.isfinite(array).all():
        raise ValueError("the array holds NaN or infinite values")
    return array


def _narrow(array: Array) -> Array:
    """Wider integers as uint16, refused where they don't fit."""
    if array.min() < 0 or array.max() > 65535:
        raise ValueError(f"values {array.min()}..{array.max()}, at most 0..65535 can be read")
    return array.astype(np.uint16)


def _refuse_lossy_tiff(image: Image.Image) -> None:
    # Pillow drops the low bits of 16-bit colour and unknown extra channels without a word.
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    bits, channels = max(tags.get(258, (1,))), tags.get(277, 1)
    if (bits > 8 and image.mode in ("RGB", "RGBA", "LA")) or channels != len(image.getbands()):
        raise ValueError(
            f"a TIFF of {channels} channels with {bits} bits, which Pillow cannot read whole; "
            "save it as .npy, or 16-bit colour as PNG"
        )


def _colour16(data: bytes) -> Array:
    """A 16-bit PNG with 2 to 4 channels, of which Pillow alone would keep the upper bytes.

    It has unpackers for both byte orders, each keeping the byte that it takes for the upper one:
    the wrong order yields the lower bytes.
    """
    grey = data[25] == 4  # colour type: grey with alpha, four bytes a pixel just as 8-bit RGBA
    read = []
    for order in ("",) if grey else (";16B", ";16L"):
        image = Image.open(io.BytesIO(data), formats=("PNG",))
        image.tile = [(*image.tile[0][:3], f"{image.mode}{order}")]  # type: ignore[list-item]
        read.append(np.array(image).astype(np.uint16))
    if grey:
        return read[0][..., 0::2] << 8 | read[0][..., 1::2]
    return read[0] << 8 | read[1]


def _image(array: Array) -> Image.Image:
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def _png16(array: Array) -> bytes:
    """PNG with 16 bits a channel, which Pillow writes for one channel only."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)

    height, width, channels = array.shape
    header = struct.pack(">IIBBBBB", width, height, 16, (0, 4, 2, 6)[channels - 1], 0, 0, 0)
    rows = np.zeros((height, 1 + width * channels * 2), np.uint8)  # each starts with filter 0
    rows[:, 1:] = np.ascontiguousarray(array, ">u2").reshape(height, -1).view(np.uint8)
    body = chunk(b"IDAT", zlib.compress(rows.tobytes()))
    return _PNG + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")

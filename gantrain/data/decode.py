"""Decodes image files to arrays and encodes arrays, and keeps depth, channels and class ids.

The formats are those of `FORMATS` and `.npy`. Their bytes decide, never a name. Several channels of
16 bits are read from `.npy` only. An EXIF orientation is applied, and a colour profile is converted
to sRGB. Pillow images and arrays that Python code gives take the same way as files, by `to_array`.
"""

import colorsys
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from gantrain.core.amounts import count_text
from gantrain.core.out_of_memory import OutOfMemory, describe_request
from gantrain.data.channels import fit, has_alpha
from gantrain.data.headers import open_header
from gantrain.data.lossy import lossy_format
from gantrain.data.pillow_pixels import narrow, pixels
from gantrain.data.shards import DamagedSample, Shards

Array = NDArray[Any]  # HWC
Colour = tuple[int, int, int]
Kind = Literal["image", "label", "instances"]

FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "PPM", "GIF")
EXTENSIONS = (
    "jpg",
    "jpeg",
    "jfif",
    "png",
    "tif",
    "tiff",
    "webp",
    "npy",
    "bmp",
    "ppm",
    "pgm",
    "pbm",
    "pnm",
    "gif",
)
DTYPES = ("uint8", "uint16", "float32")
_IDS = {"label": "class ids", "instances": "ids of instances"}
_FIRST_FRAME = "{files} with several frames: the first one is read"


class NotLabels(ValueError):
    """A file that decodes but can't hold ids."""


def decode(
    data: bytes,
    kind: Kind = "image",
    *,
    convert_profile: bool = True,
    notes: list[str] | None = None,
) -> Array:
    """The array (HWC; uint8, uint16 or float32; values as stored) in an image file's bytes.

    A palette PNG gives its indices for `label`, its colours for `image`; 1-bit files 0 and 1 for
    `label`, 0 and 255 for `image`. `instances` are ids too, always uint16. convert_profile: convert
    an `image` with a colour profile to sRGB; not wanted where colours stand for class ids. notes:
    takes a sentence for each thing that was converted (see `notes.py`). Raises ValueError, in one
    line, if the bytes don't decode or can't be kept as they are; NotLabels if they can't be ids.
    """
    refuse_lossy(data, kind)
    content = open_picture(data)
    return to_array(content, kind, convert_profile=convert_profile, notes=notes)


def open_picture(data: bytes) -> Image.Image | Array:
    """A file's bytes as a Pillow image that is not loaded yet, or as the array of a `.npy`.

    Raises ValueError, in one line, for bytes of other formats and for more than MOST_PIXELS.
    """
    with _one_line_errors():
        if data.startswith(b"\x93NUMPY"):
            array: Array = np.load(io.BytesIO(data), allow_pickle=False)
            return array
        return open_header(io.BytesIO(data), FORMATS)


def _check_frames(image: Image.Image, notes: list[str] | None) -> None:
    """Refuse several images in one file; only of a GIF's frames is the first one taken, with a
    note.
    """
    # A phone's JPEG ("MPO") carries a preview or depth map besides the photograph.
    if image.format == "MPO" or not getattr(image, "is_animated", False):
        return
    if image.tell() > 0:  # the caller has chosen this frame
        return
    if image.format != "GIF":
        raise ValueError("several images in one file, expected one")
    if notes is not None:
        notes.append(_FIRST_FRAME)


def to_array(
    content: Image.Image | Array,
    kind: Kind = "image",
    *,
    convert_profile: bool = True,
    notes: list[str] | None = None,
) -> Array:
    """A Pillow image or an array as `decode` gives the same picture in a file.

    An array of truth values is 0 and 1 as ids, and 0 and 255 as an image. Greys of 2 or 4 bits are
    ids only in an image that is not loaded yet, since loading scales them. The options and the
    errors are those of `decode`.
    """
    if not isinstance(content, Image.Image):
        return _checked(content, kind)
    if kind != "image" and content.format in ("JPEG", "MPO"):
        raise _lossy("JPEG", kind)
    with _one_line_errors(f" its {content.height}x{content.width} pixels"):
        _check_frames(content, notes)
        array = pixels(
            content,
            ids=kind != "image",
            convert_profile=convert_profile,
            notes=[] if notes is None else notes,
        )
    return _checked(array, kind)


@contextmanager
def _one_line_errors(what: str = " it") -> Iterator[None]:
    """Pillow's plugins raise nearly anything on a damaged file; it leaves as ValueError.

    what: is decoded, for a lack of memory, which leaves as OutOfMemory.
    """
    try:
        yield
    except MemoryError as error:  # the file may be sound
        request = describe_request(error)
        raise OutOfMemory(
            f"out of memory to decode{what}{request}; give a smaller copy, or free memory"
        ) from None
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):  # its message names an address in memory
            reason = f"cannot identify it as {', '.join(FORMATS)} or npy"
        raise ValueError(f"does not decode: {reason}") from None


def refuse_lossy(data: bytes, kind: Kind) -> None:
    """Raises NotLabels for ids in a file whose compression changes values."""
    if kind == "image":
        return
    name = lossy_format(data)
    if name:
        raise _lossy(name, kind)


def _lossy(name: str, kind: Kind) -> NotLabels:
    return NotLabels(f"a {name} where {_IDS[kind]} are expected: its loss changes ids; save as PNG")


def decode_sample(shards: Shards, i: int, fields: Iterable[str]) -> dict[str, Array]:
    """The wanted fields of sample `i` as writable HWC arrays of one height and width.

    Each member is read and decoded once, also where two fields are its halves. Channels are
    converted to those of the index where `channels.fit` knows how. Raises DamagedSample if any of
    it can't be read, isn't what the index says, or differs in size from the others; OutOfMemory,
    which says nothing about the file."""
    decoded = cache(lambda member, kind: decode(shards.read(i, member), kind))
    found: dict[str, Array] = {}
    for name in fields:
        field = shards.fields[name]
        try:
            array = cut(decoded(field.member, field.kind), field.half)
            found[name] = array = fit(array, field.channels, field.dtype, field.kind)
            if (array.shape[2], array.dtype.name) != (field.channels, field.dtype):
                what = f"{count_text(array.shape[2], 'channel')} of {array.dtype}"
                raise ValueError(f"{what}, the index says {field.channels} of {field.dtype}")
        except OutOfMemory as error:
            raise OutOfMemory(f"{shards.where(i)}: {name}: {error}") from None
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
    """An HWC array at another size: bicubic with antialiasing, nearest for ids.

    Colours with alpha are weighted by it, so that the colours of transparent pixels do not show at
    edges."""
    if kind == "image" and has_alpha(array.shape[2]) and array[..., -1].min() < _opaque(array):
        return _resize_with_alpha(array, height, width)
    method = Image.Resampling.BICUBIC if kind == "image" else Image.Resampling.NEAREST
    if array.dtype == np.uint8 and array.shape[2] in (1, 3):
        return np.array(_image(array).resize((width, height), method)).reshape(height, width, -1)
    resized = _resize_planes(
        array, height, width, method
    )  # Pillow would premultiply RGBA and clip uint16
    resized = resized.clip(array.min(), array.max())  # bicubic overshoots at edges
    return _rounded(resized, array.dtype)


def _resize_planes(array: Array, height: int, width: int, method: Image.Resampling) -> Array:
    """An HWC array at another size, plane by plane as floats."""
    planes = map(Image.fromarray, np.moveaxis(array, 2, 0).astype(np.float32))
    return np.stack([np.asarray(p.resize((width, height), method)) for p in planes], axis=2)


def _resize_with_alpha(array: Array, height: int, width: int) -> Array:
    """An HWC image, whose last channel is alpha, at another size; a pixel that stays transparent
    has no weight.

    Where a resized pixel is wholly transparent, its colour is the plain mean, which nobody sees.
    """
    opaque = _opaque(array)
    plain = resize(array[..., :-1], height, width)
    opacity = array[..., -1:].astype(np.float32) / opaque
    weighted = np.concatenate([array[..., :-1] * opacity, opacity], axis=2)
    resized = _resize_planes(weighted, height, width, Image.Resampling.BICUBIC)
    alpha = _rounded(resized[..., -1:].clip(0, 1) * opaque, array.dtype)
    divisor = np.maximum(resized[..., -1:], np.finfo(np.float32).eps)
    colours = (resized[..., :-1] / divisor).clip(array[..., :-1].min(), array[..., :-1].max())
    shown = np.where(alpha > 0, _rounded(colours, array.dtype), plain)
    return np.concatenate([shown, alpha], axis=2)


def _opaque(array: Array) -> int:
    """The value of an opaque pixel's alpha."""
    return 1 if array.dtype == np.float32 else int(np.iinfo(array.dtype).max)


def _rounded(values: Array, dtype: np.dtype[Any]) -> Array:
    return (values if dtype == np.float32 else values.round()).astype(dtype)


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


def _checked(array: Array, kind: Kind) -> Array:
    """An HW or HWC array as an HWC one of a dtype that is kept; raises ValueError for others."""
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise ValueError(
            f"array of shape {list(array.shape)}, expected height x width (x channels), not empty"
        )
    array = array[..., None] if array.ndim == 2 else array
    array = array.astype(array.dtype.newbyteorder("="), copy=False)  # torch takes no other
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255 if kind == "image" else 1)
    return _checked_image(array) if kind == "image" else _checked_ids(array, kind)


def _checked_image(array: Array) -> Array:
    if array.dtype.name not in DTYPES:
        raise ValueError(
            f"array of {array.dtype}, expected one of {', '.join(DTYPES)}{_advice(array)}"
        )
    if array.dtype == np.float32 and not np.isfinite(array).all():
        raise ValueError("the array holds NaN or infinite values")
    return array


def _checked_ids(array: Array, kind: Kind) -> Array:
    if array.dtype.kind not in "iu" or array.shape[2] != 1:
        found = {3: "RGB", 4: "RGBA"}.get(array.shape[2], f"{array.shape[2]}-channel {array.dtype}")
        raise NotLabels(f"{found} where {_IDS[kind]} are expected; save them as a one-channel PNG")
    # Maps of few instances have 8 bits, others beside them 16.
    return narrow(array) if kind == "instances" or array.dtype.name not in DTYPES else array


def _advice(array: Array) -> str:
    """How to convert integers of another dtype without loss, where that is possible."""
    if array.dtype.kind not in "iu":
        return ""
    low = array.min()
    high = array.max()
    for dtype in (np.uint8, np.uint16):
        if low >= 0 and high <= np.iinfo(dtype).max:
            name = np.dtype(dtype).name
            return f"; its values {low}..{high} fit into {name}: give array.astype('{name}')"
    return f"; its values {low}..{high} fit into none of the integers"

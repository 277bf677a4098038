"""Decodes image files to arrays and encodes arrays, and keeps depth, channels and class ids.

The formats are those of `formats/`. A file's bytes decide its format, never its name.
Several channels of 16 bits are read from `.npy` only. An EXIF orientation is applied, and a colour
profile is converted to sRGB. `to_array` treats Pillow images and arrays that Python code gives as
files are treated.
"""

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
from PIL import Image, UnidentifiedImageError

from gantrain.core.amounts import count_text
from gantrain.core.errors import UserError
from gantrain.core.out_of_memory import OutOfMemory, describe_request
from gantrain.core.own_code import OwnCodeFailed, naming_failure
from gantrain.data.formats.format_table import FORMATS, format_of
from gantrain.data.formats.pillow_formats import PILLOW_NAMES
from gantrain.data.kinds.kind import Array, NotLabels
from gantrain.data.kinds.table import KINDS
from gantrain.data.lossy import lossy_format
from gantrain.data.pillow_pixels import as_pillow, pixels
from gantrain.data.shards import DamagedSample, Shards

_JPEG_QUALITY = 95
PNG_LEVEL = 6  # zlib's own default
_MOST_PNG_CHANNELS = {"uint8": 4, "uint16": 1}  # that Pillow writes as PNG, by dtype
_FIRST_FRAME = "{files} with several frames: the first one is read"


def decode(
    data: bytes,
    kind: str = "image",
    *,
    convert_profile: bool = True,
    notes: list[str] | None = None,
) -> Array:
    """Return the array (HWC; uint8, uint16 or float32; values as stored) in an image file's bytes.

    kind: a name of the table KINDS. A palette PNG gives its indices for kinds of exact values, and
    its colours for `image`. A 1-bit file gives 0 and 1 for `label`, 0 and 255 for `image`.
    convert_profile: convert an `image` with a colour profile to sRGB; False where colours stand for
    class ids. notes: takes a sentence for each conversion (see `conversion_notes.py`). Raises
    UserError, in one line, if the bytes do not decode or cannot be kept as they are; NotLabels if
    they cannot be ids.
    """
    refuse_lossy(data, kind)
    content = open_picture(data)
    return to_array(content, kind, convert_profile=convert_profile, notes=notes)


def open_picture(data: bytes) -> Image.Image | Array:
    """Return a file's bytes as a Pillow image that is not loaded yet, or as an array.

    Raises UserError, in one line, for bytes of other formats and for more than MOST_PIXELS.
    """
    file_format = format_of(data)
    with _one_line_errors(), naming_failure(file_format, "open"):
        content: object = file_format.open(data)
    if not isinstance(content, Image.Image | np.ndarray):
        reader = type(file_format).__name__
        raise UserError(
            f"{reader}.open gives {type(content).__name__}, allowed: a Pillow image or an array"
        )
    return content


def _check_frames(image: Image.Image, notes: list[str] | None) -> None:
    """Refuse several images in one file; of a GIF the first frame is taken, with a note."""
    # A phone's JPEG ("MPO") carries a preview or depth map besides the photograph.
    if image.format == "MPO" or not getattr(image, "is_animated", False):
        return
    if image.tell() > 0:  # the caller has chosen this frame
        return
    if image.format != "GIF":
        raise UserError("several images in one file, expected one")
    if notes is not None:
        notes.append(_FIRST_FRAME)


def to_array(
    content: Image.Image | Array,
    kind: str = "image",
    *,
    convert_profile: bool = True,
    notes: list[str] | None = None,
) -> Array:
    """Return a Pillow image or an array as `decode` returns the same picture in a file.

    A boolean array becomes 0 and 1 as ids, and 0 and 255 as an image. Greys of 2 or 4 bits are
    ids only in an image that is not loaded yet, since loading scales them. The options and the
    errors are those of `decode`.
    """
    if not isinstance(content, Image.Image):
        return _checked(content, kind)
    if KINDS[kind].has_exact_values and content.format in ("JPEG", "MPO"):
        raise _lossy("JPEG", kind)
    with _one_line_errors(f"its {content.height}x{content.width} pixels"):
        _check_frames(content, notes)
        array = pixels(
            content,
            ids=KINDS[kind].has_exact_values,
            convert_profile=convert_profile,
            notes=[] if notes is None else notes,
        )
    return _checked(array, kind)


@contextmanager
def _one_line_errors(what: str = "it") -> Iterator[None]:
    """Turn whatever Pillow's plugins raise on a damaged file into UserError, in one line.

    A lack of memory becomes OutOfMemory. what: is decoded, for that message.
    """
    try:
        yield
    except MemoryError as error:  # the file may be sound
        request = describe_request(error)
        raise OutOfMemory(
            f"out of memory to decode {what}{request}; give a smaller copy, or free memory"
        ) from None
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):  # its message names an address in memory
            own = [name for name in FORMATS if name != "pillow"]
            reason = f"cannot identify it as {', '.join(PILLOW_NAMES)} or {', '.join(own)}"
        raise UserError(f"does not decode: {reason}") from None


def refuse_lossy(data: bytes, kind: str) -> None:
    """Raises NotLabels for ids in a file whose compression changes values."""
    if not KINDS[kind].has_exact_values:
        return
    name = lossy_format(data)
    if name:
        raise _lossy(name, kind)


def _lossy(name: str, kind: str) -> NotLabels:
    content = KINDS[kind].content
    return NotLabels(f"a {name} where {content} are expected: its loss changes ids; save as PNG")


def decode_sample(shards: Shards, i: int, fields: Iterable[str]) -> dict[str, Array]:
    """Return the requested fields of sample `i` as writable HWC arrays of one height and width.

    Each member is read and decoded once, also where two fields are its halves. Channels are
    converted to those of the index where the field's kind can. Raises DamagedSample if a field
    cannot be read, contradicts the index, or differs in size from the others. Raises OutOfMemory,
    which does not mean that the file is damaged.
    """
    decoded = cache(lambda member, kind: decode(shards.read(i, member), kind))
    arrays: dict[str, Array] = {}
    for name in fields:
        field = shards.fields[name]
        try:
            array = cut(decoded(field.member, field.kind), field.half)
            kind = KINDS[field.kind]
            with naming_failure(kind, "fit"):
                array = kind.fit(array, (field.channels, field.dtype))
            if (array.shape[2], array.dtype.name) != (field.channels, field.dtype):
                content = f"{count_text(array.shape[2], 'channel')} of {array.dtype}"
                raise UserError(f"{content}, the index says {field.channels} of {field.dtype}")
        except OwnCodeFailed:  # the file may be sound
            raise
        except OutOfMemory as error:
            raise OutOfMemory(f"{shards.where(i)}: {name}: {error}") from None
        except ValueError as error:
            raise DamagedSample(f"{shards.where(i)}: {name}: {error}") from None
        arrays[name] = array
    sizes = unequal(arrays)
    if sizes:
        raise DamagedSample(f"{shards.where(i)}: fields differ in size: {sizes}")
    return arrays


def unequal(sample: dict[str, Array]) -> str:
    """Return the fields' sizes as text where they differ, else ""."""
    sizes = {name: f"{array.shape[0]}x{array.shape[1]}" for name, array in sample.items()}
    if len(set(sizes.values())) < 2:
        return ""
    return ", ".join(f"{name} {size}" for name, size in sizes.items())


def cut(array: Array, half: int | None) -> Array:
    """Return the left (0) or right (1) half of an HWC array, or all of it (None), as a view."""
    if half is None:
        return array
    width = array.shape[1]
    if width % 2:
        raise UserError(f"width {width} is odd, two halves side by side need an even one")
    return array[:, half * width // 2 : (half + 1) * width // 2]


def lossless(channels: int, dtype: str) -> str:
    """Return the extension that keeps such an array: `png`, or `npy` where PNG cannot hold it."""
    return "png" if channels <= _MOST_PNG_CHANNELS.get(dtype, 0) else "npy"


def encode(array: Array, extension: str, png_level: int = PNG_LEVEL) -> bytes:
    """Return an HW or HWC array as the bytes of a `jpg` (quality 95, full chroma), `png` or `npy`.

    png_level: zlib's level of compression, 0 to 9; the pixels are the same. Raises UserError for an
    array that the format cannot hold.
    """
    array = array[..., None] if array.ndim == 2 else array
    channels = array.shape[2]
    dtype = array.dtype.name
    stream = io.BytesIO()
    if extension == "npy":
        np.save(stream, array, allow_pickle=False)
    elif extension == "jpg" and dtype == "uint8" and channels in (1, 3):
        as_pillow(array).save(stream, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    elif extension == "png" == lossless(channels, dtype):
        as_pillow(array).save(stream, "PNG", compress_level=png_level)
    else:
        raise UserError(f"{channels} channels of {dtype} do not fit into .{extension}; use npy")
    return stream.getvalue()


def _checked(array: Array, kind: str) -> Array:
    """Return an HW or HWC array as HWC in native byte order. Raises UserError for other dtypes."""
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise UserError(
            f"array of shape {list(array.shape)}, expected height x width (x channels), not empty"
        )
    array = array[..., None] if array.ndim == 2 else array
    array = array.astype(array.dtype.newbyteorder("="), copy=False)  # torch takes no other
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(KINDS[kind].true_value)
    with naming_failure(KINDS[kind], "check"):
        return KINDS[kind].check(array)

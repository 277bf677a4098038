"""Read the pixels of a Pillow image, which comes from a file's bytes or a user's Python code."""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from gantrain.core.errors import UserError
from gantrain.data import icc

Array = NDArray[Any]  # HW or HWC

_WIDE = ("I", "I;16", "I;16B", "I;16L", "I;16N")  # integers of more than 8 bits
_KEPT = ("L", "LA", "RGB", "RGBA", "F", *_WIDE)  # modes that hold what the file holds
_NAMED = ("CMYK", "LAB", "YCbCr", "HSV")  # colour spaces whose conversion is reported
_KEYED = ("1", "L", "RGB", "P")  # modes in which one value may stand for transparent pixels
_WITH_ALPHA = {"1": "LA", "L": "LA", "RGB": "RGBA", "P": "RGBA"}
_PLAIN = {"1": "L", "La": "LA", "PA": "RGBA", "RGBa": "RGBA"}  # others become RGB
_SHOWN = {"RGBA": "RGB with alpha"}  # for people
# TIFF's tags.
_ORIENTATION = 274
_BITS = 258
_PHOTOMETRIC = 262
_SAMPLES = 277
_SAMPLE_FORMAT = 339
_UNSIGNED = 1  # values of _SAMPLE_FORMAT
_SIGNED = 2
_MIN_IS_WHITE = 0  # of _PHOTOMETRIC


def pixels(image: Image.Image, *, ids: bool, convert_profile: bool, notes: list[str]) -> Array:
    """Return the pixels as an upright HW or HWC array; the image itself is not changed.

    ids: give class ids or ids of instances, which are the numbers that the file stores: indices of
    a palette, and greys of 2 or 4 bits that Pillow has scaled to 8. In an image of 1 bit, white
    is 1 in every format. A value that marks transparent pixels is an id like others.
    Without `ids`, pixels are colours: palettes are resolved, transparent values become alpha, and
    profiles are converted to sRGB where `convert_profile` says so. Greys of more than 8 bits keep a
    transparent value as it is, because it marks missing measurements there.
    Raises UserError where Pillow would change values, and nearly anything for a damaged file.
    """
    _check_depth(image, ids)
    maximum = _stored_maximum(image)
    has_signed_16_bits = (
        image.format == "TIFF"
        and _tag(image, _BITS, 1) == 16
        and _tag(image, _SAMPLE_FORMAT, _UNSIGNED) == _SIGNED
    )
    is_unsigned = _tag(image, _SAMPLE_FORMAT, _UNSIGNED) == _UNSIGNED
    upright = ImageOps.exif_transpose(image)
    if image.getexif().get(_ORIENTATION, 1) in range(2, 9):
        notes.append("{files} with an EXIF orientation: turned upright")
    if ids and upright.mode in ("1", "P"):
        return np.array(upright, np.uint8)
    if not ids:
        upright = _in_colours(upright, maximum, notes)
        upright = _in_srgb(upright, convert_profile, notes)
    array = np.array(upright)
    if ids and maximum is not None:
        top = 255 if upright.mode == "L" else 65535
        return np.rint(array * (maximum / top)).astype(np.uint16 if maximum > 255 else np.uint8)
    if array.dtype == np.int32 and image.format == "TIFF" and is_unsigned:
        array = array.view(np.uint32)  # Pillow reads 32 unsigned bits as signed ones
    if has_signed_16_bits and not ids:
        return array.astype(np.int16)
    return narrow(array) if upright.mode in _WIDE else array


def as_pillow(array: Array) -> Image.Image:
    """Return an HWC array as a Pillow image of its mode."""
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def narrow(array: Array) -> Array:
    """Return wider integers as uint16. Raises UserError where they do not fit."""
    if array.min() < 0 or array.max() > 65535:
        raise UserError(f"values {array.min()}..{array.max()}, at most 0..65535 can be read")
    return array.astype(np.uint16)


def _in_colours(image: Image.Image, maximum: int | None, notes: list[str]) -> Image.Image:
    """Return the image in CMYK or in one of the modes that are kept."""
    has_palette = image.mode in ("P", "PA")
    if image.mode in _KEYED and "transparency" in image.info:
        image = _with_alpha(image, maximum)
    if image.mode in _NAMED:
        notes.append(f"{{files}} in {image.mode}: converted to RGB")
    if image.mode not in (*_KEPT, "CMYK"):
        image = image.convert(_PLAIN.get(image.mode, "RGB"))
    if has_palette:
        notes.append(f"{{files}} with a palette: converted to {_SHOWN.get(image.mode, image.mode)}")
    return image


def _in_srgb(image: Image.Image, convert_profile: bool, notes: list[str]) -> Image.Image:
    """Return the image in sRGB, or in grey, by its profile.

    Pillow converts CMYK without a profile.
    """
    profile = image.info.get("icc_profile")
    if convert_profile and profile and image.mode in icc.MODES:
        image = icc.to_srgb(image, profile, notes)
    return image.convert("RGB") if image.mode == "CMYK" else image


def _with_alpha(image: Image.Image, maximum: int | None) -> Image.Image:
    """Return the image with its transparent colour as alpha, unless no pixel has that colour.

    `image` is a copy, which may be changed.
    """
    key = image.info["transparency"]
    if maximum is not None and isinstance(key, int):
        # Pillow scales the pixels, but not the key.
        image.info["transparency"] = key * 255 // maximum
    mode = _WITH_ALPHA[image.mode]
    converted = image.convert(mode)
    is_opaque = converted.getchannel("A").getextrema() == (255, 255)
    return converted.convert(mode.removesuffix("A")) if is_opaque else converted


def _check_depth(image: Image.Image, ids: bool) -> None:
    """Raises UserError for files that Pillow would silently read with other values."""
    rawmode, highest = _raw(image)
    bands = len(image.getbands())
    channels = bands
    bits = 16 if ";16" in rawmode or highest > 255 else 8
    if image.format == "TIFF":
        channels = _tag(image, _SAMPLES, 1)
        bits = _tag(image, _BITS, 1)
    if channels != bands or (bits > 8 and bands > 1):
        raise UserError(f"Pillow cannot keep {channels} channels with {bits} bits; save as .npy")
    if image.format != "TIFF":
        return
    if bits == 8 and _tag(image, _SAMPLE_FORMAT, _UNSIGNED) == _SIGNED:
        raise UserError("Pillow cannot keep signed values of 8 bits; save as .npy")
    is_inverted = _tag(image, _PHOTOMETRIC, 1) == _MIN_IS_WHITE
    if is_inverted and (bits > 8 or (ids and bits > 1)):
        problem = "a TIFF whose 0 is white, so that its values can be meant in two ways"
        raise UserError(f"{problem}; save it as PNG")


def _stored_maximum(image: Image.Image) -> int | None:
    """Return the highest value of the file's greys where Pillow scales them, else None.

    Pillow scales them to 8 or 16 bits. Only an image that is not loaded yet still has the value.
    """
    rawmode, highest = _raw(image)
    if image.mode not in ("L", "I"):
        return None
    if image.format == "PPM" and highest not in (0, 255, 65535):
        return highest
    depth = re.match(r"L;([24])", rawmode)
    return 2 ** int(depth[1]) - 1 if depth else None


def _raw(image: Image.Image) -> tuple[str, int]:
    """Return Pillow's raw mode of the stored pixels, and PPM's highest value.

    They are "" and 0 where they are unknown.
    """
    tiles = getattr(image, "tile", None)
    if not tiles:
        return "", 0
    arguments = tiles[0][3]
    if isinstance(arguments, str):
        return arguments, 0
    rawmode = arguments[0] if arguments and isinstance(arguments[0], str) else ""
    is_scaled = image.format == "PPM" and str(tiles[0][0]).startswith("ppm")
    return rawmode, int(arguments[-1]) if is_scaled else 0


def _tag(image: Image.Image, number: int, default: int) -> int:
    """Return a tag of a TIFF; of one value for each channel, the largest."""
    value = getattr(image, "tag_v2", {}).get(number, default)
    return int(max(value)) if isinstance(value, tuple) else int(value)

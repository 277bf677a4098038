"""Converts images with an ICC profile to sRGB.

The conversion happens when a file is decoded, not when it is packed: the shards keep the bytes of
the files, and the tars of other projects are never packed by gantrain.
"""

import io
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageCms

MODES = ("L", "LA", "RGB", "RGBA", "CMYK")  # 8-bit modes of Pillow that LittleCMS converts

_LARGEST = 4 << 20  # bytes; a profile comes from an untrusted file
_KEPT_TRANSFORMS = 16
_SAME = 3  # largest difference, of 255, of a profile that counts as sRGB
_BLACK_POINT_COMPENSATION = 0x2000  # LittleCMS's flag, which older versions of Pillow do not name

CONVERTED = "{files} with a colour profile: converted to sRGB"
UNUSABLE = "{files} with a colour profile that cannot be used: read without it"

_Transform = Any  # ImageCms.ImageCmsTransform, which Pillow does not type in all versions


def to_srgb(image: Image.Image, profile: bytes, notes: list[str]) -> Image.Image:
    """Return the image in sRGB: L and LA stay grey, RGB and RGBA stay colours, CMYK becomes RGB.

    The intent is relative colorimetric with black point compensation, as photo editors use it. An
    image whose profile is sRGB, or cannot be used, is returned as it is. Alpha is not converted.
    16-bit images never come here, because Pillow gives only 8-bit modes to LittleCMS. They keep
    their values, which are often measurements and no colours.
    """
    mode = image.mode.removesuffix("A")
    transform = _transform(profile, mode) if len(profile) <= _LARGEST else "unusable"
    if transform == "unusable":
        notes.append(UNUSABLE)
        return image
    if transform == "srgb":
        return image
    notes.append(CONVERTED)
    colours = image if image.mode == mode else image.convert(mode)
    converted = _apply(transform, colours)
    if image.mode != mode:
        converted.putalpha(image.getchannel("A"))
    return converted


@lru_cache(maxsize=_KEPT_TRANSFORMS)
def _transform(profile: bytes, mode: str) -> _Transform | Literal["srgb", "unusable"]:
    """Return the transform of a profile's colours in a mode.

    It is cached, since building it takes milliseconds. Forked workers inherit the cache: a
    transform holds no lock, file or thread.
    """
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = opened.profile.xcolor_space.strip()
        # Grey files sometimes carry an RGB profile, whose neutral axis is meant.
        source_mode = "RGB" if mode == "L" and space == "RGB" else mode
        transform = ImageCms.buildTransform(
            opened,
            ImageCms.createProfile("sRGB"),
            source_mode,
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=_BLACK_POINT_COMPENSATION,  # type: ignore[arg-type]
        )
        same = mode != "CMYK" and _keeps_colours(transform, mode)
    except Exception:  # hostile profiles make Pillow raise nearly anything
        return "unusable"
    return "srgb" if same else transform


def _apply(transform: _Transform, image: Image.Image) -> Image.Image:
    """Return a new image in L for L, in RGB for RGB and CMYK."""
    wanted = image.convert(transform.input_mode)
    converted: Image.Image = transform.apply(wanted)
    return converted.convert("L") if image.mode == "L" else converted


def _keeps_colours(transform: _Transform, mode: str) -> bool:
    """Return whether the transform keeps a grid of colours, whatever the profile's name is."""
    ramp = np.arange(256, dtype=np.uint8)[None]  # 1W
    probe = ramp
    if mode == "RGB":
        levels = np.arange(0, 256, 15, dtype=np.uint8)
        grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
        greys = np.repeat(ramp[..., None], 3, axis=2)
        probe = np.concatenate([grid, greys], axis=1)  # 1W3
    converted = np.asarray(_apply(transform, Image.fromarray(probe)))
    difference = np.abs(converted.astype(int) - probe.astype(int))
    return bool(difference.max() <= _SAME)

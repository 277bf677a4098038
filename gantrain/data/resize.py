"""Resizes images and maps of ids, in every dtype that data sets hold."""

from typing import Any

import numpy as np
from PIL import Image

from gantrain.data.channels import Array, has_alpha
from gantrain.data.pillow_pixels import as_pillow

_OPAQUE = 255  # the alpha of an opaque pixel


def resize_smoothly(array: Array, height: int, width: int) -> Array:
    """Return an HWC image at another size: bicubic with antialiasing.

    Colours are weighted by their alpha, so that the colours of transparent pixels do not show at
    edges.
    """
    if has_alpha(array.shape[2], array.dtype.name) and array[..., -1].min() < _OPAQUE:
        return _resize_with_alpha(array, height, width)
    return _resize(array, height, width, Image.Resampling.BICUBIC)


def resize_nearest(array: Array, height: int, width: int) -> Array:
    """Return an HWC array at another size, each pixel with the value of the nearest one."""
    return _resize(array, height, width, Image.Resampling.NEAREST)


def _resize(array: Array, height: int, width: int, method: Image.Resampling) -> Array:
    if array.dtype == np.uint8 and array.shape[2] in (1, 3):
        return np.array(as_pillow(array).resize((width, height), method)).reshape(height, width, -1)
    # Pillow would premultiply RGBA and clip uint16.
    resized = _resize_planes(array, height, width, method)
    resized = resized.clip(array.min(), array.max())  # bicubic overshoots at edges
    return _rounded(resized, array.dtype)


def _resize_planes(array: Array, height: int, width: int, method: Image.Resampling) -> Array:
    """Return an HWC array at another size, plane by plane as floats."""
    resized = []
    for plane in np.moveaxis(array, 2, 0).astype(np.float32):
        image = Image.fromarray(plane).resize((width, height), method)
        resized.append(np.asarray(image))
    return np.stack(resized, axis=2)


def _resize_with_alpha(array: Array, height: int, width: int) -> Array:
    """Return an HWC image of uint8, whose last channel is alpha, at another size.

    Each colour is weighted by its alpha. Where a resized pixel is wholly transparent, its colour is
    the plain mean, which nobody sees.
    """
    plain = resize_smoothly(array[..., :-1], height, width)
    opacity = array[..., -1:].astype(np.float32) / _OPAQUE
    weighted = np.concatenate([array[..., :-1] * opacity, opacity], axis=2)
    resized = _resize_planes(weighted, height, width, Image.Resampling.BICUBIC)
    alpha = _rounded(resized[..., -1:].clip(0, 1) * _OPAQUE, array.dtype)
    divisor = np.maximum(resized[..., -1:], np.finfo(np.float32).eps)
    colours = (resized[..., :-1] / divisor).clip(array[..., :-1].min(), array[..., :-1].max())
    shown = np.where(alpha > 0, _rounded(colours, array.dtype), plain)
    return np.concatenate([shown, alpha], axis=2)


def _rounded(values: Array, dtype: np.dtype[Any]) -> Array:
    return (values if dtype == np.float32 else values.round()).astype(dtype)

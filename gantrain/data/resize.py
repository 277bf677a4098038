"""Resizes images and maps of ids, in every dtype that data sets hold.

Two functions resize images by the same filter. `resize_smoothly` uses torch for 8 bits, which is
four times as fast as Pillow on a CPU with AVX2. `resize_for_storage` uses Pillow, so that the bytes
of a data set, and therefore its fingerprint, do not depend on the version of torch. Where height
and width are scaled alike, their results differ by at most 2 levels of 255, in 0.5 % of the values
at most. Where the scales differ, the order matters: newer versions of Pillow resize the columns
first, and torch the rows, and both round to 8 bits in between. Photographs then differ by up to 4
levels (measured).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from gantrain.data.channels import Array, has_alpha
from gantrain.data.pillow_pixels import as_pillow

_OPAQUE = 255  # the alpha of an opaque pixel
_MOST_TORCH_CHANNELS = 4  # that torch resizes together


def resize_smoothly(array: Array, height: int, width: int) -> Array:
    """Return an HWC image, as networks see it, at another size: bicubic with antialiasing.

    Colours are weighted by their alpha, so that the colours of transparent pixels do not show at
    edges.
    """
    return _resize_image(array, height, width, _resize_fast)


def resize_for_storage(array: Array, height: int, width: int) -> Array:
    """Return an HWC image at another size, as `resize_smoothly` does, for a data set on disk."""
    return _resize_image(array, height, width, _resize_by_pillow)


def resize_nearest(array: Array, height: int, width: int) -> Array:
    """Return an HWC array at another size, each pixel with the value of the nearest one."""
    return _resize(array, height, width, Image.Resampling.NEAREST)


def _resize_image(
    array: Array, height: int, width: int, resize: Callable[[Array, int, int], Array]
) -> Array:
    """Return an HWC image at another size. resize: the function for opaque images."""
    if has_alpha(array.shape[2], array.dtype.name) and array[..., -1].min() < _OPAQUE:
        plain = resize(array[..., :-1], height, width)
        return _resize_with_alpha(array, plain)
    return resize(array, height, width)


def _resize_by_pillow(array: Array, height: int, width: int) -> Array:
    return _resize(array, height, width, Image.Resampling.BICUBIC)


def _resize_fast(array: Array, height: int, width: int) -> Array:
    """Return an HWC image at another size, by torch where it takes the dtype and the channels.

    Its integer arithmetic gives the same bits on every kind of CPU and with any number of threads.
    """
    if array.dtype != np.uint8 or array.shape[2] > _MOST_TORCH_CHANNELS:
        return _resize_by_pillow(array, height, width)
    import torch

    if not array.flags.writeable:  # which torch warns about
        array = array.copy()
    images = torch.from_numpy(array).permute(2, 0, 1)[None]  # 1CHW, channels last in memory
    resized = torch.nn.functional.interpolate(
        images, (height, width), mode="bicubic", antialias=True
    )
    return resized[0].permute(1, 2, 0).contiguous().numpy()


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


def _resize_with_alpha(array: Array, plain: Array) -> Array:
    """Return an HWC image of uint8, whose last channel is alpha, at the size of `plain`.

    Each colour is weighted by its alpha. Where a resized pixel is wholly transparent, its colour is
    that of `plain`, the colours resized without weights, which nobody sees.
    """
    height, width = plain.shape[:2]
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

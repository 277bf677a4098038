"""Resize, crop, flip and jitter of one sample: one draw for all its fields."""

import numpy as np

from gantrain.data.decode import resize

Size = tuple[int, int]  # height, width
Sample = dict[str, np.ndarray]  # HWC by field


def resized(sample: Sample, labels: frozenset[str], size: Size) -> Sample:
    """Class ids by nearest, images by bicubic."""
    return {
        f: x if x.shape[:2] == size else resize(x, *size, "label" if f in labels else "image")
        for f, x in sample.items()
    }


def _jitter(image: np.ndarray, brightness: float, contrast: float) -> np.ndarray:
    top = np.iinfo(image.dtype).max if np.issubdtype(image.dtype, np.integer) else 1.0
    values = image.astype(np.float32)
    mean = values.mean()
    values = ((values - mean) * contrast + mean) * brightness
    values = values.clip(0, top)
    jittered: np.ndarray = values if top == 1.0 else values.round().astype(image.dtype)
    return jittered


def augment(
    sample: Sample,
    labels: frozenset[str],
    size: Size,
    resize_to: Size | None,
    flip: bool,
    jitter: float,
    random: np.random.Generator,
) -> Sample:
    """A training sample of `size`; `labels` are the fields of class ids.

    Raises ValueError where the sample is smaller than `size`.
    """
    height, width = size
    # Every number is drawn, used or not: an option then does not change the others' draws.
    across, down, mirror, bright, strong = random.random(5)
    if resize_to is not None:
        sample = resized(sample, labels, resize_to)
    whole_height, whole_width = next(iter(sample.values())).shape[:2]
    if whole_height < height or whole_width < width:
        raise ValueError(f"image of {whole_height}x{whole_width} is smaller than {height}x{width}")
    top = int(down * (whole_height - height + 1))
    left = int(across * (whole_width - width + 1))
    sample = {f: x[top : top + height, left : left + width] for f, x in sample.items()}
    if flip and mirror < 0.5:
        sample = {f: x[:, ::-1] for f, x in sample.items()}
    if jitter:
        brightness, contrast = (1 + jitter * (2 * u - 1) for u in (bright, strong))
        sample = {
            f: x if f in labels else _jitter(x, brightness, contrast) for f, x in sample.items()
        }
    return sample


def held_out(sample: Sample, labels: frozenset[str], size: Size, resize_to: Size | None) -> Sample:
    """A sample of `size` without chance: resized where training resizes, else its centre."""
    whole = next(iter(sample.values())).shape[:2]
    if resize_to is not None or whole[0] < size[0] or whole[1] < size[1]:
        return resized(sample, labels, size)
    top, left = ((w - s) // 2 for w, s in zip(whole, size, strict=True))
    return {f: x[top : top + size[0], left : left + size[1]] for f, x in sample.items()}

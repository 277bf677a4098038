"""Resize, crop, flip and colour jitter of one sample: one draw for all its fields."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from gantrain.data.channels import has_alpha
from gantrain.data.resize import resize
from gantrain.data.scale import held_out_resize

Size = tuple[int, int]  # height, width
Sample = dict[str, np.ndarray]  # HWC by field


@dataclass(frozen=True)
class SampleTransform:
    """How samples are shown: the wanted fields, those of ids among them, and their geometry."""

    fields: tuple[str, ...]
    labels: frozenset[str]
    size: Size
    resize: Size | None
    flip: bool = False
    color_jitter: float = 0.0

    def augment(self, sample: Sample, random: np.random.Generator) -> Sample:
        """A training sample of `size`; without `resize` no sample may be smaller."""
        height, width = self.size
        # Every number is drawn, used or not: an option then does not change the others' draws.
        across, down, mirror, bright, strong = random.random(5)
        if self.resize is not None:
            sample = resize_sample(sample, self.resize, self.labels)
        whole_height, whole_width = next(iter(sample.values())).shape[:2]
        top, left = int(down * (whole_height - height + 1)), int(across * (whole_width - width + 1))
        sample = {f: x[top : top + height, left : left + width] for f, x in sample.items()}
        if self.flip and mirror < 0.5:
            sample = {f: x[:, ::-1] for f, x in sample.items()}
        if self.color_jitter:
            brightness, contrast = (1 + self.color_jitter * (2 * u - 1) for u in (bright, strong))
            sample = {
                f: x if f in self.labels else _jitter_color(x, brightness, contrast)
                for f, x in sample.items()
            }
        return sample

    def held_out(self, sample: Sample) -> Sample:
        """Return the centre of a sample, of `size`, without any random choice.

        The sample is resized by `held_out_resize` before, if that is set. Without such a resize a
        sample that is smaller than `size` is resized to it.
        """
        height, width = self.size
        resized = held_out_resize(self.size, self.resize)
        if resized is not None:
            sample = resize_sample(sample, resized, self.labels)
        whole_height, whole_width = next(iter(sample.values())).shape[:2]
        if whole_height < height or whole_width < width:
            return resize_sample(sample, self.size, self.labels)
        top, left = (whole_height - height) // 2, (whole_width - width) // 2
        return {f: x[top : top + height, left : left + width] for f, x in sample.items()}


def resize_sample(sample: Sample, size: Size, labels: Collection[str]) -> Sample:
    """A sample at another size: bicubic, but nearest for the fields in `labels`, which hold ids."""
    resized = {}
    for name, array in sample.items():
        if array.shape[:2] == size:
            resized[name] = array
        else:
            resized[name] = resize(array, *size, "label" if name in labels else "image")
    return resized


def _jitter_color(image: np.ndarray, brightness: float, contrast: float) -> np.ndarray:
    """An HWC image with other brightness and contrast; alpha (see `channels.py`) stays as it is."""
    if has_alpha(image.shape[2]):
        colours = _jitter_color(image[..., :-1], brightness, contrast)
        return np.concatenate([colours, image[..., -1:]], axis=2)
    top = 1 if image.dtype == np.float32 else np.iinfo(image.dtype).max
    values = image.astype(np.float32)
    mean = values.mean()
    values = (((values - mean) * contrast + mean) * brightness).clip(0, top)
    jittered: np.ndarray = values if top == 1 else values.round().astype(image.dtype)
    return jittered

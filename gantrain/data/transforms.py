"""Resize, crop, flip and colour jitter of one sample: one draw for all its fields."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from gantrain.data.channels import has_alpha
from gantrain.data.kinds.kind import Kind
from gantrain.data.scale import held_out_resize

Size = tuple[int, int]  # height, width
Sample = dict[str, np.ndarray]  # HWC by field


@dataclass(frozen=True)
class SampleTransform:
    """How samples are shown: the kinds of the wanted fields, by name, and their geometry."""

    kinds: Mapping[str, Kind]
    size: Size
    resize: Size | None
    flip: bool = False
    color_jitter: float = 0.0

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the wanted fields."""
        return tuple(self.kinds)

    def of(self, fields: Collection[str]) -> "SampleTransform":
        """Return the transform of some of the fields."""
        kinds = {name: kind for name, kind in self.kinds.items() if name in fields}
        return replace(self, kinds=kinds)

    def augment(self, sample: Sample, random: np.random.Generator) -> Sample:
        """A training sample of `size`; without `resize` no sample may be smaller."""
        height, width = self.size
        # Every number is drawn, used or not: an option then does not change the others' draws.
        across, down, mirror, bright, strong = random.random(5)
        if self.resize is not None:
            sample = resize_sample(sample, self.resize, self.kinds)
        whole_height, whole_width = next(iter(sample.values())).shape[:2]
        top, left = int(down * (whole_height - height + 1)), int(across * (whole_width - width + 1))
        sample = {f: x[top : top + height, left : left + width] for f, x in sample.items()}
        if self.flip and mirror < 0.5:
            sample = {f: x[:, ::-1] for f, x in sample.items()}
        if self.color_jitter:
            brightness, contrast = (1 + self.color_jitter * (2 * u - 1) for u in (bright, strong))
            sample = {
                f: x if self.kinds[f].has_exact_values else _jitter_color(x, brightness, contrast)
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
            sample = resize_sample(sample, resized, self.kinds)
        whole_height, whole_width = next(iter(sample.values())).shape[:2]
        if whole_height < height or whole_width < width:
            return resize_sample(sample, self.size, self.kinds)
        top, left = (whole_height - height) // 2, (whole_width - width) // 2
        return {f: x[top : top + height, left : left + width] for f, x in sample.items()}


def resize_sample(sample: Sample, size: Size, kinds: Mapping[str, Kind]) -> Sample:
    """Return a sample at another size. kinds: those of its fields."""
    resized = {}
    for name, array in sample.items():
        if array.shape[:2] == size:
            resized[name] = array
        else:
            resized[name] = kinds[name].resize(array, *size)
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

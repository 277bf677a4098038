"""Resizes, crops and augments a sample, by one draw for all its fields."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from gantrain.core.own_code import naming_failure
from gantrain.data.channels import has_alpha
from gantrain.data.degradations.source_maker import SourceMaker
from gantrain.data.kinds.kind import Kind
from gantrain.data.ranges import FULL_RANGES, Range
from gantrain.data.scale import held_out_resize

Size = tuple[int, int]  # height, width
Sample = dict[str, np.ndarray]  # HWC by field


@dataclass(frozen=True)
class SampleTransform:
    """How samples are shown: the kinds of the wanted fields, by name, and their geometry.

    Attributes:
        kinds: The kinds of the fields, by name.
        size: The height and the width of the crop, in pixels.
        resize: The size to which samples are resized before the crop, or None.
        random_scale: The lowest and the highest factor of a random scale before the crop, or None.
        flip: Whether half of the samples are mirrored from left to right.
        vertical_flip: Whether half of the samples are mirrored from top to bottom.
        quarter_turns: Whether samples are turned by 0, 90, 180 or 270 degrees. `size` is square.
        color_jitter: The largest change of brightness and of contrast, as a fraction.
        jittered: The fields with colour jitter; None means all.
        ranges: The ranges of the fields' values, by name; other fields have the full range of their
            dtype.
        source_maker: Makes the source from the target, or None.
    """

    kinds: Mapping[str, Kind]
    size: Size
    resize: Size | None
    flip: bool = False
    color_jitter: float = 0.0
    random_scale: tuple[float, float] | None = None
    vertical_flip: bool = False
    quarter_turns: bool = False
    jittered: Collection[str] | None = None
    ranges: Mapping[str, Range] = field(default_factory=dict)
    source_maker: SourceMaker | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the wanted fields."""
        return tuple(self.kinds)

    def of(self, fields: Collection[str]) -> "SampleTransform":
        """Return the transform of some of the fields."""
        kinds = {name: kind for name, kind in self.kinds.items() if name in fields}
        return replace(self, kinds=kinds)

    def of_target(self, name: str) -> "SampleTransform":
        """Return the transform of the targets alone, without sources that are made of them."""
        return replace(self.of([name]), source_maker=None)

    def with_source(self, sample: Sample, seed: int, position: int) -> Sample:
        """Return a transformed sample with the source that is made from its target, if any.

        seed, position: decide what is random in the degradation.
        """
        if self.source_maker is None:
            return sample
        return self.source_maker.add_to(sample, seed, position)

    def augment(self, sample: Sample, random: np.random.Generator) -> Sample:
        """Return a training sample of `size`, by one draw for all its fields.

        Without `resize` no sample may be smaller.
        """
        # Every number is drawn, used or not: an option then does not change the others' draws.
        across, down, mirror, bright, strong = random.random(5)
        upside_down, turn, zoom = random.random(3)
        sample = resize_sample(sample, self._size_before_crop(sample, zoom), self.kinds)
        sample = self._crop(sample, down, across)
        if self.flip and mirror < 0.5:
            sample = {name: _mirror(array) for name, array in sample.items()}
        if self.vertical_flip and upside_down < 0.5:
            sample = {name: array[::-1] for name, array in sample.items()}
        if self.quarter_turns:
            turns = int(4 * turn)
            sample = {name: np.rot90(array, turns) for name, array in sample.items()}
        if self.color_jitter:
            brightness = 1 + self.color_jitter * (2 * bright - 1)
            contrast = 1 + self.color_jitter * (2 * strong - 1)
            sample = self._jitter(sample, brightness, contrast)
        return sample

    def _size_before_crop(self, sample: Sample, zoom: float) -> Size:
        """Return the height and the width to which a sample is resized before the crop.

        zoom: the place of the random scale between its bounds, 0 to 1, by equal factors. The scale
        is never smaller than the crop needs.
        """
        height, width = self.resize or _size_of(sample)
        if self.random_scale is None:
            return height, width
        lowest, highest = self.random_scale
        factor = lowest * (highest / lowest) ** zoom
        factor = max(factor, self.size[0] / height, self.size[1] / width)
        return max(self.size[0], round(factor * height)), max(self.size[1], round(factor * width))

    def _crop(self, sample: Sample, down: float, across: float) -> Sample:
        """Return a crop of `size`. down, across: its place, from 0 (top, left) to 1."""
        height, width = self.size
        whole_height, whole_width = _size_of(sample)
        top = int(down * (whole_height - height + 1))
        left = int(across * (whole_width - width + 1))
        return {
            name: array[top : top + height, left : left + width] for name, array in sample.items()
        }

    def _jitter(self, sample: Sample, brightness: float, contrast: float) -> Sample:
        """Return a sample with other colours, in the fields that have any."""
        jittered: Sample = {}
        for name, array in sample.items():
            is_wanted = self.jittered is None or name in self.jittered
            if is_wanted and not self.kinds[name].has_exact_values:
                values_range = self.ranges.get(name, FULL_RANGES[array.dtype.name])
                jittered[name] = _jitter_color(array, brightness, contrast, values_range)
            else:
                jittered[name] = array
        return jittered

    def held_out(self, sample: Sample) -> Sample:
        """Return the centre of a sample, of `size`, without any random choice.

        The sample is resized by `held_out_resize` before, if that is set. Without such a resize a
        sample that is smaller than `size` is resized to it.
        """
        height, width = self.size
        resized = held_out_resize(self.size, self.resize)
        if resized is not None:
            sample = resize_sample(sample, resized, self.kinds)
        whole_height, whole_width = _size_of(sample)
        if whole_height < height or whole_width < width:
            return resize_sample(sample, self.size, self.kinds)
        top = (whole_height - height) // 2
        left = (whole_width - width) // 2
        return {f: x[top : top + height, left : left + width] for f, x in sample.items()}


def _size_of(sample: Sample) -> Size:
    """Return the height and the width that all fields of a sample have."""
    height, width = next(iter(sample.values())).shape[:2]
    return height, width


def _mirror(array: np.ndarray) -> np.ndarray:
    """Return an HWC array mirrored from left to right.

    Torch reverses the pixels of a row 10 times as fast as NumPy copies a reversed view.
    """
    if not array.flags.writeable:  # which torch warns about
        array = array.copy()
    mirrored: np.ndarray = torch.from_numpy(array).flip(1).numpy()
    return mirrored


def resize_sample(sample: Sample, size: Size, kinds: Mapping[str, Kind]) -> Sample:
    """Return a sample at another size. kinds: those of its fields."""
    resized = {}
    for name, array in sample.items():
        if array.shape[:2] == size:
            resized[name] = array
        else:
            with naming_failure(kinds[name], "resize"):
                resized[name] = kinds[name].resize(array, *size)
    return resized


def _jitter_color(
    image: np.ndarray, brightness: float, contrast: float, values_range: Range
) -> np.ndarray:
    """Return an HWC image with other brightness and contrast; alpha stays as it is.

    values_range: the values of black and of white. Others are clipped.
    """
    if has_alpha(image.shape[2], image.dtype.name):
        colours = _jitter_color(image[..., :-1], brightness, contrast, values_range)
        return np.concatenate([colours, image[..., -1:]], axis=2)
    black, white = values_range
    values = image.astype(np.float32) - black
    mean = values.mean()
    values = (((values - mean) * contrast + mean) * brightness).clip(0, white - black) + black
    if image.dtype != np.float32:
        values = values.round()
    jittered: np.ndarray = values.astype(image.dtype)
    return jittered

"""Makes the source of a sample from its target, in the target's own kind of values."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gantrain.core.rng import Purpose, random_numbers
from gantrain.data.degradations.composition import Composition
from gantrain.data.field import Field
from gantrain.data.kinds.image import range_of

# The names of made fields. No stored field can have them.
SOURCE_FIELD = "+source"
MASK_FIELD = "+mask"

Sample = dict[str, NDArray[Any]]  # HWC by field
_WHITE = 255  # of a hole
_SIZES = {"min_size", "max_size", "original_min_size", "original_max_size"}  # of a field


class SourceMaker:
    """Makes the source, and the mask of its holes, from a sample's target.

    The source has the dtype and the range of the target, so that a file of a degraded image looks
    to a network as in training.

    target: the name of the target. field: its description. Raises UserError for a target that the
    degradation cannot take.
    """

    def __init__(self, degradation: Composition, target: str, field: Field) -> None:
        self.degradation = degradation
        self.target = target
        self.field = field
        self.fields = {SOURCE_FIELD: self._describe_source()}
        if degradation.gives_mask:
            size = {"min_size": field.min_size, "max_size": field.max_size}
            self.fields[MASK_FIELD] = Field(member="mask", kind="mask", channels=1, **size)

    @property
    def scale(self) -> int:
        """How many times smaller than the target the source is."""
        return self.degradation.scale

    def _describe_source(self) -> Field:
        sizes = self.field.model_dump(include=_SIZES)
        for name, size in sizes.items():
            if size is not None:
                sizes[name] = (max(1, size[0] // self.scale), max(1, size[1] // self.scale))
        return Field(
            member="source",
            channels=self.degradation.channels_after(self.field.channels),
            dtype=self.field.dtype,
            range=self.field.range,
            **sizes,
        )

    def add_to(self, sample: Sample, seed: int, position: int) -> Sample:
        """Return the sample with its source, and with the mask where there are holes.

        seed, position: decide all that is random.
        """
        random = random_numbers(seed, position, Purpose.DEGRADATION)
        degraded = self.degradation.degrade(_to_unit(sample[self.target], self.field), random)
        made = {**sample, SOURCE_FIELD: from_unit(degraded.image, self.field)}
        if degraded.mask is not None:
            made[MASK_FIELD] = (degraded.mask * _WHITE).astype(np.uint8)
        return made


def _to_unit(array: NDArray[Any], field: Field) -> NDArray[np.float32]:
    """Return an array HWC of a field's values as floats of 0 to 1."""
    low, high = range_of(field)
    values = (array.astype(np.float32) - low) / (high - low)
    unit: NDArray[np.float32] = values.clip(0, 1).astype(np.float32)
    return unit


def from_unit(array: NDArray[np.float32], field: Field) -> NDArray[Any]:
    """Return floats of 0 to 1, HWC, as values of a field, rounded where its dtype has integers."""
    low, high = range_of(field)
    values = array.astype(np.float32) * np.float32(high - low) + np.float32(low)
    return values if field.dtype == "float32" else values.round().astype(field.dtype)


def fill_holes(image: NDArray[Any], mask: NDArray[Any], fill: float, field: Field) -> NDArray[Any]:
    """Return an image HWC with its holes filled as `mask` fills them in training.

    mask: HW1, not 0 in the holes. fill: a fraction of the field's range.
    """
    value = from_unit(np.full((1, 1, 1), fill, np.float32), field)
    filled: NDArray[Any] = np.where(mask != 0, value, image)
    return filled

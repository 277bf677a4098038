"""Measures the values of image fields that have no 8 bits: extremes and percentiles."""

from typing import Annotated

import numpy as np
import pydantic
from pydantic import BaseModel

from gantrain.data.kinds.kind import Array
from gantrain.data.ranges import Clipped, Range

_LOW = 0.001  # the fraction of the values below the low percentile
_LEVELS = 65536  # of 16 bits
_OFFSETS = {"uint16": 0, "int16": 32768}  # of a value's place among the levels
_MOST_SAMPLED = 1 << 20  # floats
_MOST_PER_FILE = 1 << 14

Finite = Annotated[float, pydantic.Field(allow_inf_nan=False)]


class Statistics(BaseModel, extra="forbid", frozen=True):
    """The values of a field over a data set.

    low, high: the 0.1 and the 99.9 percentile. They are exact for integers; for floats they are
    those of a fixed sample of the values.
    """

    minimum: Finite
    maximum: Finite
    low: Finite
    high: Finite


class ValueCounter:
    """Counts the values of the files of a field: 16-bit integers exactly, floats by a sample.

    The result does not depend on the order of the files. values_range: the range whose clipped
    values are counted, where it is known before.
    """

    def __init__(self, dtype: str, values_range: Range | None = None) -> None:
        self.dtype = dtype
        self.values_range = values_range
        self.total = 0
        self._levels = np.zeros(_LEVELS if dtype in _OFFSETS else 0, np.int64)
        self._minimum = np.inf
        self._maximum = -np.inf
        self._outside = 0
        self._samples: list[Array] = []
        self._sampled = 0
        self._stride = 1

    def add(self, array: Array) -> None:
        """Count the values of an array of the counter's dtype."""
        values = array.ravel()
        self.total += values.size
        if self.dtype in _OFFSETS:
            places = values.astype(np.int32) + _OFFSETS[self.dtype]
            self._levels += np.bincount(places, minlength=_LEVELS)
            return
        self._minimum = min(self._minimum, float(values.min()))
        self._maximum = max(self._maximum, float(values.max()))
        if self.values_range is not None:
            self._outside += count_outside(values, self.values_range)
        # A fixed number of each file's values, evenly spread, of which every second one goes
        # wherever all files together have too many.
        step = -(-values.size // _MOST_PER_FILE)
        self._keep(values[::step][:: self._stride].copy())

    def merge(self, other: "ValueCounter") -> None:
        """Add what another counter of the same dtype and range has counted."""
        self.total += other.total
        self._levels += other._levels
        self._minimum = min(self._minimum, other._minimum)
        self._maximum = max(self._maximum, other._maximum)
        self._outside += other._outside
        while self._stride < other._stride:
            self._thin()
        for sample in other._samples:
            self._keep(sample[:: self._stride // other._stride])

    def statistics(self) -> Statistics:
        """Return the extremes and percentiles of the values, of which there is at least one."""
        if self.dtype in _OFFSETS:
            offset = _OFFSETS[self.dtype]
            present = np.flatnonzero(self._levels)
            below = np.cumsum(self._levels)
            low = int(np.searchsorted(below, _LOW * self.total, side="right"))
            high = int(np.searchsorted(below, (1 - _LOW) * self.total, side="left"))
            return Statistics(
                minimum=int(present[0]) - offset,
                maximum=int(present[-1]) - offset,
                low=low - offset,
                high=high - offset,
            )
        low, high = np.quantile(np.concatenate(self._samples), [_LOW, 1 - _LOW])
        return Statistics(
            minimum=self._minimum, maximum=self._maximum, low=float(low), high=float(high)
        )

    def fraction_outside(self, values_range: Range) -> float:
        """Return the fraction of the values outside a range.

        It is exact for integers, and for the range that the counter was made with.
        """
        if self.dtype in _OFFSETS:
            places = np.arange(_LEVELS) - _OFFSETS[self.dtype]
            is_outside = (places < values_range[0]) | (places > values_range[1])
            return float(self._levels[is_outside].sum()) / self.total
        if values_range == self.values_range:
            return self._outside / self.total
        sample = np.concatenate(self._samples)
        return count_outside(sample, values_range) / sample.size

    def _keep(self, sample: Array) -> None:
        self._samples.append(sample)
        self._sampled += sample.size
        while self._sampled > max(_MOST_SAMPLED, 2 * len(self._samples)):
            self._thin()

    def _thin(self) -> None:
        """Drop every second value of each file."""
        self._stride *= 2
        self._samples = [sample[::2].copy() for sample in self._samples]
        self._sampled = sum(sample.size for sample in self._samples)


def count_clipped(images: Array, values_range: Range) -> Clipped:
    """Return how many values of images, NHWC, lie outside a range, and in how many images."""
    is_outside = _is_outside(images, values_range)
    return Clipped(
        values=int(np.count_nonzero(is_outside)),
        all_values=images.size,
        files=int(np.count_nonzero(is_outside.reshape(len(images), -1).any(axis=1))),
    )


def count_outside(array: Array, values_range: Range) -> int:
    """Return the number of an array's values outside a range."""
    return int(np.count_nonzero(_is_outside(array, values_range)))


def _is_outside(array: Array, values_range: Range) -> Array:
    """Return, for each value of an array, whether it lies outside a range."""
    low, high = values_range
    return (array < low) | (array > high)

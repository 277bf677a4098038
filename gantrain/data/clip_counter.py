"""Counts the values of files that lie outside their ranges."""

import threading
from collections.abc import Callable, Mapping

from gantrain.data.field import Field
from gantrain.data.kinds.image import range_of
from gantrain.data.kinds.kind import Array
from gantrain.data.kinds.table import KINDS
from gantrain.data.ranges import FIXED_DTYPE, Clipped, Range, describe_clipped
from gantrain.data.value_statistics import count_clipped

Gather = Callable[[dict[str, Clipped]], list[dict[str, Clipped]]]


def clipping_ranges(fields: Mapping[str, Field]) -> dict[str, Range]:
    """Return the ranges of the fields whose files can hold values outside them, by name."""
    ranges: dict[str, Range] = {}
    for name, field in fields.items():
        if KINDS[field.kind].has_range and field.dtype != FIXED_DTYPE:
            ranges[name] = range_of(field)
    return ranges


class ClipCounter:
    """Counts clipped values by name. Several threads may count.

    ranges: by the name that lines show, such as that of a field or of a dtype.
    """

    def __init__(self, ranges: Mapping[str, Range]) -> None:
        self._ranges = ranges
        self._counts: dict[str, Clipped] = {}
        self._lock = threading.Lock()

    def add(self, images: Mapping[str, Array]) -> None:
        """Count the values of images, NHWC, by name. Images of other names are not counted."""
        for name, values_range in self._ranges.items():
            if name in images:
                clipped = count_clipped(images[name], values_range)
                with self._lock:
                    self._counts[name] = self._counts.get(name, Clipped()) + clipped

    def lines(self, gather: Gather = lambda counts: [counts]) -> list[str]:
        """Return a line for each name with clipped values, and begin to count anew.

        gather: gives the counts of all ranks. Every rank calls it.
        """
        total: dict[str, Clipped] = {}
        for of_rank in gather(self._counts):
            for name, clipped in of_rank.items():
                total[name] = total.get(name, Clipped()) + clipped
        self._counts = {}
        return [
            describe_clipped(name, self._ranges[name], clipped)
            for name, clipped in total.items()
            if clipped.values
        ]

"""Counts the values of a data set's image fields while the files are checked."""

import threading
from collections.abc import Mapping

from gantrain.core.own_code import naming_failure
from gantrain.data.field import Field
from gantrain.data.kinds.kind import Array, PixelFormat
from gantrain.data.kinds.table import KINDS
from gantrain.data.ranges import FIXED_DTYPE, Range
from gantrain.data.value_statistics import ValueCounter

_Formats = tuple[tuple[str, PixelFormat], ...]  # of the fields of a sample, by name


class ValueCounts:
    """Counts the values of image fields of other dtypes than uint8. Threads may share it.

    Which samples a data set leaves out is known only after all of them are checked, and it depends
    on the formats of their fields. The counts of samples with other formats are therefore apart.

    ranges: those that are known before, by field.
    """

    def __init__(self, ranges: Mapping[str, Range]) -> None:
        self._ranges = ranges
        self._lock = threading.Lock()
        self._counters: dict[_Formats, dict[str, ValueCounter]] = {}

    def add(self, arrays: Mapping[str, Array], fields: Mapping[str, Field]) -> None:
        """Count the values of a usable sample. arrays: HWC, by field."""
        formats: _Formats = tuple(
            (name, (field.channels, field.dtype)) for name, field in fields.items()
        )
        counted: dict[str, ValueCounter] = {}
        for name, field in fields.items():
            if KINDS[field.kind].has_range and field.dtype != FIXED_DTYPE:
                counted[name] = ValueCounter(field.dtype, self._ranges.get(name))
                counted[name].add(arrays[name])
        if not counted:
            return
        with self._lock:
            counters = self._counters.setdefault(formats, {})
            for name, counter in counted.items():
                if name in counters:
                    counters[name].merge(counter)
                else:
                    counters[name] = counter

    def totals(self, fields: Mapping[str, Field]) -> dict[str, ValueCounter]:
        """Return the values of a data set's fields, in the samples that it takes.

        Fields whose values are not counted are left out.
        """
        totals: dict[str, ValueCounter] = {}
        for formats, counters in self._counters.items():
            if not all(_fits(fields[name], own) for name, own in formats):
                continue
            for name, counter in counters.items():
                total = ValueCounter(counter.dtype, counter.values_range)
                totals.setdefault(name, total).merge(counter)
        return totals


def _fits(field: Field, own: PixelFormat) -> bool:
    """Return whether a data set takes files of that format for a field."""
    kind = KINDS[field.kind]
    with naming_failure(kind, "can_fit"):
        return kind.can_fit(own, (field.channels, field.dtype))

"""`--range`: the ranges of the fields of a data set that is packed or indexed."""

from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple

from gantrain.core.errors import UserError
from gantrain.data.field import Field
from gantrain.data.kinds.table import KINDS
from gantrain.data.prepare.hints import as_note
from gantrain.data.prepare.value_counts import ValueCounts
from gantrain.data.ranges import (
    FULL_RANGES,
    Range,
    check_range,
    check_takes_range,
    describe_unknown_range,
    number_text,
    parse_range,
    range_text,
    suggest_range,
)
from gantrain.data.value_statistics import Statistics, ValueCounter

RangeOption = Range | Literal["auto"]  # auto: from the 0.1 to the 99.9 percentile


class RangedFields(NamedTuple):
    """Fields with their statistics and ranges. notes: on values outside the ranges."""

    fields: dict[str, Field]
    notes: list[str]


def parse_ranges(texts: Mapping[str, str]) -> dict[str, RangeOption]:
    """Return the ranges by field, from texts `LOW..HIGH` or `auto`. Raises UserError."""
    ranges: dict[str, RangeOption] = {}
    for name, text in texts.items():
        try:
            ranges[name] = "auto" if text == "auto" else parse_range(text, ", or auto")
        except UserError as error:
            raise UserError(f"--range {name}: {error}") from None
    return ranges


def numbers_of(options: Mapping[str, RangeOption]) -> dict[str, Range]:
    """Return the ranges that are known before any file is read."""
    return {name: option for name, option in options.items() if option != "auto"}


def check_names(options: Mapping[str, RangeOption], names: Collection[str]) -> None:
    """Raise UserError for ranges of fields that do not exist. names: of the fields."""
    for name in options:
        if name not in names:
            raise UserError(f"--range {name}: found no such field, allowed: {', '.join(names)}")


def choose_ranges(
    fields: Mapping[str, Field],
    value_counts: ValueCounts,
    options: Mapping[str, RangeOption],
    *,
    needs_ranges: bool = True,
) -> RangedFields:
    """Return the fields with their statistics, and with the ranges that `--range` gives them.

    value_counts: of the files that were checked. needs_ranges: refuse fields whose range nobody has
    stated but should. Raises UserError.
    """
    counters = value_counts.totals(fields)
    ranged = _with_ranges(fields, counters, options)
    if needs_ranges:
        _check_ranges_known(ranged)
    return RangedFields(ranged, _note_clipped(ranged, counters))


def _with_ranges(
    fields: Mapping[str, Field],
    counters: Mapping[str, ValueCounter],
    options: Mapping[str, RangeOption],
) -> dict[str, Field]:
    """Return the fields with their statistics, and with the ranges that `--range` gives them.

    counters: the values of the fields that have statistics. Raises UserError.
    """
    chosen = dict(fields)
    for name, counter in counters.items():
        chosen[name] = fields[name].model_copy(update={"statistics": counter.statistics()})
    for name, option in options.items():
        field = chosen[name]
        try:
            known = None if option == "auto" else option
            check_takes_range(name, field.dtype, known, has_range=KINDS[field.kind].has_range)
        except UserError as error:
            raise UserError(f"--range {name}: {error}") from None
        values = _automatic_range(name, field.statistics) if option == "auto" else option
        chosen[name] = field.model_copy(update={"range": values})
    return chosen


def _automatic_range(name: str, statistics: Statistics | None) -> Range:
    assert statistics is not None  # of every field that takes a range
    if statistics.low >= statistics.high:
        raise UserError(
            f"--range {name}: found auto, but nearly all values are {number_text(statistics.low)};"
            " give LOW..HIGH"
        )
    values = (statistics.low, statistics.high)
    try:
        return check_range(values)
    except UserError as error:
        raise UserError(
            f"--range {name}: found auto, which is {range_text(values)}, {error}"
        ) from None


def _check_ranges_known(fields: Mapping[str, Field]) -> None:
    """Raise UserError, with the options, for fields whose range nobody has stated but should."""
    problems: list[str] = []
    for name, field in fields.items():
        if field.range is not None or field.statistics is None:
            continue
        reason = describe_unknown_range(name, field.dtype, field.statistics)
        if reason is not None:
            suggested = range_text(suggest_range(field.dtype, field.statistics))
            full = range_text(FULL_RANGES[field.dtype])
            automatic = range_text((field.statistics.low, field.statistics.high))
            problems.append(
                f"{reason}; state which values networks see as -1 and 1:"
                f" --range {name}={suggested}, --range {name}=auto ({automatic}) or"
                f" --range {name}={full}"
            )
    if problems:
        raise UserError("\n".join(problems))


def _note_clipped(fields: Mapping[str, Field], counters: Mapping[str, ValueCounter]) -> list[str]:
    """Return a note for each field with values outside its range."""
    notes: list[str] = []
    for name, counter in counters.items():
        values = fields[name].range
        fraction = counter.fraction_outside(values) if values else 0.0
        if values is None or fraction == 0:
            continue
        percent = f"{100 * fraction:.3g} %" if fraction >= 0.0001 else "less than 0.01 %"
        notes.append(
            as_note(
                f"{name}: {percent} of its values lie outside its range {range_text(values)};"
                " networks see them clipped, and the files keep them"
            )
        )
    return notes

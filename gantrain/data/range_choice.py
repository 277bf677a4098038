"""Chooses the ranges of values of a training set's fields, which hold for the whole run."""

from collections.abc import Mapping

from gantrain.core.errors import UserError
from gantrain.data.field import Field
from gantrain.data.kinds.image import range_of
from gantrain.data.kinds.table import KINDS
from gantrain.data.ranges import (
    Range,
    check_takes_range,
    describe_unknown_range,
    number_text,
    range_text,
    suggest_range,
)
from gantrain.data.request import DataRequest
from gantrain.data.unpaired import DataSet


def with_chosen_ranges(data: DataSet, request: DataRequest) -> tuple[DataSet, list[str]]:
    """Return a training set with the ranges that the recipe chooses, and lines on clipped values.

    Raises UserError for a range of a field that takes none, and for a field whose range neither the
    recipe nor the data state, but should.
    """
    chosen = request.chosen_ranges
    problems: list[str] = []
    changed: dict[str, Field] = {}
    lines: list[str] = []
    for name in request.names.values():
        field = data.fields[name]
        shown_name = _name_in_recipe(name, request)
        if name in chosen:
            problem = _check_choice(shown_name, field, chosen[name])
            if range_of(field) != chosen[name]:
                field = field.model_copy(update={"range": chosen[name]})
                changed[name] = field
        else:
            problem = _check_known(shown_name, field)
        if problem is not None:
            problems.append(problem)
        else:
            lines += _describe_outside(shown_name, field)
    if problems:
        raise UserError("\n".join(problems))
    return (data.converted(changed) if changed else data), lines


def _name_in_recipe(name: str, request: DataRequest) -> str:
    """Return the name that the recipe gives a field. The data call both unpaired fields by role."""
    if request.unpaired is None:
        return name
    return request.unpaired.source if name == request.source else request.unpaired.target


def _check_choice(name: str, field: Field, values: Range) -> str | None:
    """Return the error about a range of a field that takes none, or None."""
    try:
        check_takes_range(name, field.dtype, values, has_range=KINDS[field.kind].has_range)
    except UserError as error:
        return f"data.ranges.{name}: {error}"
    return None


def _check_known(name: str, field: Field) -> str | None:
    """Return the error about a field whose range is not known, or None."""
    if field.range is not None or not KINDS[field.kind].has_range:
        return None
    reason = describe_unknown_range(name, field.dtype, field.statistics)
    if reason is None or field.statistics is None:
        return None
    suggested = _as_key(name, suggest_range(field.dtype, field.statistics))
    usual = _as_key(name, (field.statistics.low, field.statistics.high))
    keys = " or ".join(dict.fromkeys([suggested, usual]))
    return (
        f"data.ranges: {reason}; state which values networks see as -1 and 1, such as {keys}, or"
        " prepare each set with --range"
    )


def _as_key(name: str, values: Range) -> str:
    """Return a key of a recipe, in a form to paste."""
    low, high = values
    return f"'data.ranges={{{name}: [{number_text(low)}, {number_text(high)}]}}'"


def _describe_outside(name: str, field: Field) -> list[str]:
    """Return a line where the files hold values outside the range."""
    values = field.statistics
    if values is None:
        return []
    low, high = range_of(field)
    if low <= values.minimum and values.maximum <= high:
        return []
    return [
        f"data.train: {name} holds values {range_text((values.minimum, values.maximum))}; networks"
        f" see those outside the range {range_text((low, high))} clipped"
    ]


def ranges_by_field(names: Mapping[str, str], fields: Mapping[str, Field]) -> dict[str, Range]:
    """Return the ranges by the fields' names. names: by role. fields: by role."""
    ranges: dict[str, Range] = {}
    for role, name in names.items():
        if KINDS[fields[role].kind].has_range:
            ranges[name] = range_of(fields[role])
    return ranges

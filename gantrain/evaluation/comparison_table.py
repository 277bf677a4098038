"""The tables of `gantrain evaluate RUN RUN...`: rows of runs, columns of metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gantrain.core.amounts import count_text, value_text
from gantrain.core.printable import printable
from gantrain.evaluation.evaluate_results import Results
from gantrain.metrics.metric_suite import Record
from gantrain.metrics.registry import larger_is_better

_LONGEST_NAME = 28  # characters of a run's name in a table
_GAP = "  "
_NULL = "real images"
_BEST = "*"

RecordsByRun = Mapping[str, Mapping[str, Record]]  # by run and metric


@dataclass(frozen=True)
class Measured:
    """A run's results. run: as the user wrote it. images_seen: of the measured checkpoint."""

    run: str
    images_seen: int
    results: Results
    about: dict[str, Any]


@dataclass
class _Group:
    """Runs that saw the same images in the same way, and share a table."""

    set_name: str
    members: list[Measured]


def describe(measured: Sequence[Measured], width: int) -> list[str]:
    """Return the lines of the tables. width: of the console."""
    lines: list[str] = []
    names = _names(measured)
    for run, name in names.items():
        if run != name:
            lines.append(f"{name}: {printable(run)}")
    groups = _groups(measured)
    for title, group in groups.items():
        lines += [title, *_table(group, names, width), ""]
    if len({title.partition(",")[0] for title in groups}) < len(groups):
        lines.append(
            "Values of different tables are not comparable: the runs see the images at different"
            " scales."
        )
    if lines:
        lines.append(f"{_BEST} marks the best value; {_NULL}: what as many training images get")
    return lines


def _names(measured: Sequence[Measured]) -> dict[str, str]:
    """Return each run's name in the tables: its path, or a number where paths are long."""
    names = {run.run: printable(run.run) for run in measured}
    if all(len(name) <= _LONGEST_NAME for name in names.values()):
        return names
    return {run.run: f"run {number}" for number, run in enumerate(measured, 1)}


def _groups(measured: Sequence[Measured]) -> dict[str, _Group]:
    """Return the runs that share a table, by its title."""
    groups: dict[str, _Group] = {}
    for run in measured:
        for set_name, records in run.results.items():
            title = _title(run, set_name, records)
            group = groups.setdefault(title, _Group(set_name, []))
            group.members.append(run)
    return groups


def _title(run: Measured, set_name: str, records: Sequence[Record]) -> str:
    height, width = run.about["size"]
    count = count_text(max((record.n for record in records), default=0), "image")
    title = f"{printable(set_name)}: {count}, {height}x{width} pixels, {run.about['scale']}"
    if run.about["crop_border"]:
        title += f", without a border of {run.about['crop_border']}"
    return title


def _table(group: _Group, names: Mapping[str, str], width: int) -> list[str]:
    """Return rows of runs and columns of metrics, in as many blocks as the width needs."""
    by_run: dict[str, dict[str, Record]] = {}
    metrics: dict[str, None] = {}  # in order, each once
    for run in group.members:
        by_run[run.run] = {record.name: record for record in run.results[group.set_name]}
        metrics |= dict.fromkeys(by_run[run.run])
    nulls = _null_rows(by_run, names)
    rows = [("run", "images"), ("better if", "seen")]
    rows += [(names[run.run], f"{run.images_seen:,}") for run in group.members]
    rows += [(title, "") for title in nulls]
    columns: list[list[str]] = []
    for metric in metrics:
        direction = "higher" if larger_is_better(metric) else "lower"
        cells = [metric, direction]
        cells += _value_cells(metric, [records.get(metric) for records in by_run.values()])
        cells += [_text(values.get(metric)) for values in nulls.values()]
        columns.append(_right_aligned(cells))
    return [*_blocks(_row_heads(rows), columns, width), *_problems(by_run, names)]


def _null_rows(by_run: RecordsByRun, names: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Return the values of real images by metric, by the row's title.

    There is one row, or one for each run where they differ.
    """
    nulls: dict[str, dict[str, float]] = {}
    for run, records in by_run.items():
        nulls[run] = {
            name: record.null for name, record in records.items() if record.null is not None
        }
    merged: dict[str, float] = {}
    for values in nulls.values():
        merged |= values
    if not merged:
        return {}
    if all(values.items() <= merged.items() for values in nulls.values()):
        return {_NULL: merged}
    return {f"{_NULL}, {names[run]}": values for run, values in nulls.items()}


def _value_cells(metric: str, records: Sequence[Record | None]) -> list[str]:
    """Return the cells of a column; the best value is marked where they differ."""
    values = [None if record is None else record.value for record in records]
    numbers = [value for value in values if value is not None]
    best: float | None = None
    if len(set(numbers)) > 1:
        best = max(numbers) if larger_is_better(metric) else min(numbers)
    cells = []
    for value in values:
        is_best = best is not None and value == best
        cells.append(f"{_BEST}{_text(value)}" if is_best else _text(value))
    return cells


def _text(value: float | None) -> str:
    return "-" if value is None else value_text(value)


def _problems(by_run: RecordsByRun, names: Mapping[str, str]) -> list[str]:
    """Return a line for each reason why metrics have no value."""
    lines = []
    for run, records in by_run.items():
        metrics_by_reason: dict[str, list[str]] = {}
        for record in records.values():
            if record.problem:
                metrics_by_reason.setdefault(record.problem, []).append(record.name)
        for reason, metrics in metrics_by_reason.items():
            lines.append(f"{names[run]}: {', '.join(metrics)} without a value: {printable(reason)}")
    return lines


def _row_heads(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Return the first two columns of each row as one text."""
    first_width = max(len(first) for first, _ in rows)
    second_width = max(len(second) for _, second in rows)
    return [
        f"{first.ljust(first_width)}{_GAP}{second.rjust(second_width)}" for first, second in rows
    ]


def _right_aligned(cells: Sequence[str]) -> list[str]:
    width = max(map(len, cells))
    return [cell.rjust(width) for cell in cells]


def _blocks(heads: Sequence[str], columns: Sequence[Sequence[str]], width: int) -> list[str]:
    """Return the lines of the table.

    Columns that do not fit beside the others stand below them, after the same heads of rows.
    """
    lines: list[str] = []
    remaining = list(columns)
    while remaining:
        block: list[Sequence[str]] = [heads, remaining.pop(0)]
        while remaining and _width([*block, remaining[0]]) <= width:
            block.append(remaining.pop(0))
        if lines:
            lines.append("")
        for cells in zip(*block, strict=True):
            lines.append(_GAP.join(cells).rstrip())
    return lines


def _width(block: Sequence[Sequence[str]]) -> int:
    return len(_GAP.join(column[0] for column in block))

"""`gantrain evaluate RUN RUN...`: the metrics of several models side by side, a table for each
test set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gantrain.core.amounts import count_text, value_text
from gantrain.core.console import complain, console, say_whole
from gantrain.core.printable import printable
from gantrain.core.wording import option, option_with
from gantrain.core.world import World
from gantrain.evaluation.evaluate import Results, measure, records, write_records
from gantrain.evaluation.evaluation_inputs import open_checkpoint
from gantrain.metrics.metric_suite import Record
from gantrain.metrics.registry import larger_is_better
from gantrain.runs import checkpoint

_LONGEST_NAME = 28  # characters of a run's name in a table
_GAP = "  "
_NULL = "real images"
_BEST = "*"


@dataclass(frozen=True)
class Measured:
    """A run's results. run: as the user gave it. images_seen: by the checkpoint that was
    measured.
    """

    run: str
    images_seen: int
    results: Results
    about: dict[str, Any]


@dataclass
class Comparison:
    """The runs that were measured, and one line for each run that could not be."""

    measured: list[Measured] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)

    def records(self) -> list[dict[str, Any]]:
        """Everything for a JSON file: a record for each run, test set and metric, and one for
        each failed run.
        """
        content: list[dict[str, Any]] = []
        for one in self.measured:
            about = {"run": one.run, "images_seen": one.images_seen, **one.about}
            content += records(one.results, about)
        for run, problem in self.problems.items():
            content.append({"run": run, "problem": problem})
        return content


def compare(
    world: World,
    paths: Sequence[Path],
    data: Mapping[str, str | None],
    options: Mapping[str, Any],
    targets: Mapping[str, str] | None = None,
    best: bool = False,
) -> Comparison:
    """Measure several models on the same test sets. Every rank calls it.

    paths: runs or checkpoints. The others are those of `open_checkpoint`. A run that cannot be used
    is left out. Raises ValueError where `data` is empty and the runs' own held-out data differ."""
    given = [str(path) for path in paths]
    runs = list(dict.fromkeys(given))
    for run in runs:
        if given.count(run) > 1:
            world.say(f"{run}: given {given.count(run)} times, compared once")
    comparison = Comparison()
    contents: dict[str, dict[str, str]] = {}
    for run in runs:  # all are tried before the first one is measured, which may take long
        try:
            contents[run] = open_checkpoint(world, Path(run), data, options, targets, best).contents
        except ValueError as e:
            comparison.problems[run] = _one_line(e)
    _check_same_content(contents)
    for run in contents:
        try:
            opened = open_checkpoint(world, Path(run), data, options, targets, best)
            results, about = measure(world, opened)
        except ValueError as e:
            comparison.problems[run] = _one_line(e)
            continue
        images_seen = checkpoint.state(opened.folder).images_seen
        comparison.measured.append(Measured(run, images_seen, results, about))
    return comparison


def compare_runs(
    world: World,
    paths: Sequence[Path],
    data: Mapping[str, str | None],
    options: Mapping[str, Any],
    targets: Mapping[str, str],
    out: Path | None,
    best: bool,
) -> int:
    """Compare runs, print the tables and write them to `out`. Every rank calls it.

    Returns the command's exit status: 1 where some of the runs could not be measured, and 2 where
    none could be."""
    comparison = compare(world, paths, data, options, targets, best)
    if world.is_main:
        for line in describe(comparison, console.width):
            say_whole(line)
        for run, problem in comparison.problems.items():
            complain(f"gantrain: {run}: {problem}")
        if out:
            write_records(out, comparison.records())
    if not comparison.problems:
        return 0
    return 1 if comparison.measured else 2


def _one_line(error: ValueError) -> str:
    return "; ".join(str(error).splitlines())


def _check_same_content(contents: Mapping[str, Mapping[str, str]]) -> None:
    """Raises ValueError where runs of other held-out data would be compared."""
    runs_of: dict[str, list[str]] = {}
    for run, of_sets in contents.items():
        for content in of_sets.values():
            runs_of.setdefault(content, []).append(run)
    different = {tuple(runs) for runs in runs_of.values() if len(runs) < len(contents)}
    if different:
        groups = " / ".join(", ".join(runs) for runs in sorted(different))
        raise ValueError(
            f"{option('data')}: the runs have different held-out data ({groups}), so that their"
            " values cannot be compared; give the images to test all of them on:"
            f" {option_with('data', 'FOLDER')}"
        )


def describe(comparison: Comparison, width: int) -> list[str]:
    """The lines of the tables. width: of the console."""
    lines: list[str] = []
    names = _names(comparison.measured)
    for run, name in names.items():
        if run != name:
            lines.append(f"{name}: {printable(run)}")
    groups = _groups(comparison.measured)
    for title, (set_name, members) in groups.items():
        lines += [title, *_table(set_name, members, names, width), ""]
    if len({title.partition(",")[0] for title in groups}) < len(groups):
        lines.append(
            "Values of different tables are not comparable: the runs see the images at different"
            " scales."
        )
    if lines:
        lines.append(f"{_BEST} marks the best value; {_NULL}: what as many training images get")
    return lines


def _names(measured: Sequence[Measured]) -> dict[str, str]:
    """What each run is called in the tables: its path, or a number where paths are long."""
    if all(len(printable(one.run)) <= _LONGEST_NAME for one in measured):
        return {one.run: printable(one.run) for one in measured}
    return {one.run: f"run {number}" for number, one in enumerate(measured, 1)}


def _groups(measured: Sequence[Measured]) -> dict[str, tuple[str, list[Measured]]]:
    """The runs that saw the same images in the same way, by the title of their table, with the
    set's name.
    """
    groups: dict[str, tuple[str, list[Measured]]] = {}
    for one in measured:
        for set_name, results in one.results.items():
            height, width = one.about["size"]
            count = count_text(max((record.n for record in results), default=0), "image")
            title = f"{printable(set_name)}: {count}, {height}x{width} pixels, {one.about['scale']}"
            if one.about["crop_border"]:
                title += f", without a border of {one.about['crop_border']}"
            groups.setdefault(title, (set_name, []))[1].append(one)
    return groups


def _table(
    set_name: str, members: Sequence[Measured], names: Mapping[str, str], width: int
) -> list[str]:
    """Rows of runs and columns of metrics, in as many blocks as the width needs."""
    by_run = {one.run: {record.name: record for record in one.results[set_name]} for one in members}
    metrics = list(dict.fromkeys(name for of_run in by_run.values() for name in of_run))
    nulls = _null_rows(by_run, names)
    rows = [*_names_and_images(members, names), *((title, "") for title in nulls)]
    head = _columns([("run", "images"), ("better if", "seen"), *rows])
    columns = []
    for metric in metrics:
        values = [of_run.get(metric) for of_run in by_run.values()]
        direction = "higher" if larger_is_better(metric) else "lower"
        cells = [
            *_value_cells(metric, values),
            *(_text(of_run.get(metric)) for of_run in nulls.values()),
        ]
        columns.append(_right([metric, direction, *cells]))
    problems = _problems(by_run, names)
    return [*_blocks(head, columns, width), *problems]


def _names_and_images(
    members: Sequence[Measured], names: Mapping[str, str]
) -> list[tuple[str, str]]:
    """The first two cells of each run's row."""
    return [(names[one.run], f"{one.images_seen:,}") for one in members]


def _null_rows(
    by_run: Mapping[str, Mapping[str, Record]], names: Mapping[str, str]
) -> dict[str, dict[str, float]]:
    """The values of real images by metric, by the row's title: one row, or one for each run
    where they differ.
    """
    nulls: dict[str, dict[str, float]] = {}
    for run, of_run in by_run.items():
        nulls[run] = {
            name: record.null for name, record in of_run.items() if record.null is not None
        }
    together: dict[str, float] = {}
    for values in nulls.values():
        together |= values
    if not together:
        return {}
    if all(values.items() <= together.items() for values in nulls.values()):
        return {_NULL: together}
    return {f"{_NULL}, {names[run]}": values for run, values in nulls.items()}


def _value_cells(metric: str, values: Sequence[Record | None]) -> list[str]:
    """The values of a column; the best one is marked where they differ."""
    numbers = [record.value for record in values if record is not None and record.value is not None]
    best: float | None = None
    if len(set(numbers)) > 1:
        best = max(numbers) if larger_is_better(metric) else min(numbers)
    cells = []
    for record in values:
        value = None if record is None else record.value
        mark = _BEST if best is not None and value == best else ""
        cells.append(mark + _text(value))
    return cells


def _text(value: float | None) -> str:
    return "-" if value is None else value_text(value)


def _problems(by_run: Mapping[str, Mapping[str, Record]], names: Mapping[str, str]) -> list[str]:
    """A line for each reason why metrics have no value."""
    lines = []
    for run, of_run in by_run.items():
        reasons: dict[str, list[str]] = {}
        for record in of_run.values():
            if record.problem:
                reasons.setdefault(record.problem, []).append(record.name)
        for reason, metrics in reasons.items():
            lines.append(f"{names[run]}: {', '.join(metrics)} without a value: {printable(reason)}")
    return lines


def _columns(rows: Sequence[tuple[str, str]]) -> list[str]:
    """The first two columns of each row as one text."""
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    return [f"{first.ljust(widths[0])}{_GAP}{second.rjust(widths[1])}" for first, second in rows]


def _right(cells: Sequence[str]) -> list[str]:
    width = max(map(len, cells))
    return [cell.rjust(width) for cell in cells]


def _blocks(head: Sequence[str], columns: Sequence[Sequence[str]], width: int) -> list[str]:
    """The lines of the table; columns that do not fit beside the others stand below them, after
    the same head.
    """
    lines: list[str] = []
    left = list(columns)
    while left:
        taken = [left.pop(0)]
        while (
            left
            and len(_GAP.join([head[0], *(column[0] for column in taken), left[0][0]])) <= width
        ):
            taken.append(left.pop(0))
        if lines:
            lines.append("")
        for number, first in enumerate(head):
            lines.append(_GAP.join([first, *(column[number] for column in taken)]).rstrip())
    return lines

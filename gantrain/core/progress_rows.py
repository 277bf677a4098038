"""The entries of a run on the console: aligned rows for a terminal, one line each for a log."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gantrain.core.amounts import duration_text, percent_text, value_text

HEADER_EVERY = 20  # entries
EVALUATION = "val_"  # starts the names of an evaluation's values
_GAP = "  "
_LEAST_WIDTH = 6  # of a value such as 0.0568
_NULL = "_null"  # ends the name of what real images get for a metric
_SPEED = "images_per_second"
_MEMORY = "memory_gib"
_PROBLEMS = ("nonfinite_steps", "damaged_samples")
_HEADINGS = {
    _SPEED: "images/s",
    _MEMORY: "memory",
    "nonfinite_steps": "nonfinite",
    "damaged_samples": "damaged",
}


@dataclass(frozen=True)
class Progress:
    """The position of a run. epoch: images in one epoch. total: images seen when the run ends."""

    images_seen: int
    total: int
    epoch: int

    @property
    def epochs(self) -> str:
        return f"{self.images_seen / self.epoch:.2f}"

    @property
    def fraction(self) -> float:
        return min(1.0, self.images_seen / self.total)

    def time_left(self, images_per_second: float | None) -> str:
        """Return the time to the end at that speed; empty where the speed is not known."""
        if not images_per_second:
            return ""
        return duration_text(max(0, self.total - self.images_seen) / images_per_second)


class TerminalRows:
    """Lays a run's entries out in rows that are at most as wide as the terminal.

    An entry has one row, or two where its losses do not fit into one. Columns that do not fit are
    left out, the least important ones first. The first entry decides which columns are shown, for
    each width of the terminal: where a column has become wider, those that no longer fit move to a
    second row. A column never becomes narrower. The header comes again where a column has become
    wider.
    """

    def __init__(self) -> None:
        self._names: list[str] = []  # of the columns, the most important ones first
        self._widths: dict[str, int] = {}
        self._header: list[str] = []
        self._entries = 0  # since the last header
        # By secondary column, on a terminal of `_width` characters.
        self._is_shown: dict[str, bool] = {}
        self._width = 0

    def entry(
        self, progress: Progress, values: Mapping[str, float], width: int
    ) -> tuple[list[str], list[str]]:
        """Return the lines of an entry, below those of the header where it is due.

        width: of the terminal.
        """
        cells = self._with_all_columns(_cells(progress, values))
        headings = {name: _HEADINGS.get(name, name) for name in cells}
        final = _cells(replace(progress, images_seen=progress.total), {})
        for name, text in cells.items():
            least = len(final.get(name, "")) or _LEAST_WIDTH
            self._widths[name] = max(self._widths.get(name, least), len(headings[name]), len(text))
        layout = self._arrange(cells, width)
        header = self._lines(layout, headings)
        is_due = header != self._header or self._entries % HEADER_EVERY == 0
        if is_due:
            self._header = header
            self._entries = 0
        self._entries += 1
        return (header if is_due else []), self._lines(layout, cells)

    def _with_all_columns(self, cells: Mapping[str, str]) -> dict[str, str]:
        """Return the cells of every column so far.

        A cell is empty where this entry has no value, such as that of a rare penalty.
        """
        place = 0
        for name in cells:
            if name in self._names:
                place = self._names.index(name)
            else:
                self._names.insert(place, name)
            place += 1
        return {name: cells.get(name, "") for name in self._names}

    def _arrange(self, cells: Mapping[str, str], width: int) -> list[list[str]]:
        """Return the names in each row."""
        losses = [name for name in cells if not _is_secondary(name)]
        others = [name for name in cells if _is_secondary(name)]
        first: list[str] = []
        second: list[str] = []
        for name in losses:
            if not second and self._fits([*first, name], width):
                first.append(name)
            elif self._fits([*second, name], width - len(_GAP)):
                second.append(name)
        self._place_others(others, first, second, width)
        return [first, second] if second else [first]

    def _place_others(
        self, names: Sequence[str], first: list[str], second: list[str], width: int
    ) -> None:
        """Add the secondary columns to the rows.

        These are the columns that were shown before, and new ones that fit.
        """
        if width != self._width:
            self._is_shown = {}
            self._width = width
        for name in names:
            was_shown = self._is_shown.get(name)
            if was_shown is False:
                continue
            if not second and self._fits([*first, name], width):
                first.append(name)
            elif (second or was_shown) and self._fits([*second, name], width - len(_GAP)):
                second.append(name)
            else:
                self._is_shown[name] = False
                continue
            self._is_shown[name] = True

    def _fits(self, names: Sequence[str], width: int) -> bool:
        gaps = len(_GAP) * (len(names) - 1)
        return sum(self._widths[name] for name in names) + gaps <= width

    def _lines(self, layout: list[list[str]], texts: Mapping[str, str]) -> list[str]:
        lines = []
        for number, names in enumerate(layout):
            padded = [texts[name].rjust(self._widths[name]) for name in names]
            lines.append(_GAP * number + _GAP.join(padded))
        return lines


def _cells(progress: Progress, values: Mapping[str, float]) -> dict[str, str]:
    """Return the texts of an entry by column, the most important ones first."""
    cells = {
        "images": f"{progress.images_seen:,}",
        "epoch": progress.epochs,
        "done": percent_text(progress.fraction),
        "left": progress.time_left(values.get(_SPEED)),
    }
    for name in _PROBLEMS:
        if name in values:
            cells[name] = f"{values[name]:,.0f}"
    if _SPEED in values:
        cells[_SPEED] = value_text(values[_SPEED])
    losses = [name for name in values if name not in cells and not _is_secondary(name)]
    rates = [name for name in values if _is_rate(name)]
    others = [name for name in values if _is_secondary(name) and name not in rates]
    for name in [*losses, *rates, *others]:
        cells[name] = _text(name, values[name])
    return cells


def _text(name: str, value: float) -> str:
    if _is_fraction(name):
        return percent_text(value)
    if name == _MEMORY:
        return f"{value:.3g} GiB"
    if _is_rate(name):
        return f"{value:.2e}"  # its width does not change while the rate decays
    return value_text(value)


def _is_fraction(name: str) -> bool:
    return name == "data_wait" or "d_on_" in name


def _is_rate(name: str) -> bool:
    return name == "lr" or name.startswith("lr_")


def _is_secondary(name: str) -> bool:
    """Return whether a value is neither a loss nor the run's progress."""
    is_gradient = name.endswith("_gradient")
    return _is_rate(name) or _is_fraction(name) or is_gradient or name == _MEMORY


def evaluation_rows(progress: Progress, values: Mapping[str, float], width: int) -> list[str]:
    """Return the lines of an evaluation on a terminal.

    They hold its position, and then the metrics in aligned columns. values: the metrics and their
    nulls, with the prefix of an evaluation.
    """
    items = []
    for name, value in values.items():
        metric = name.removeprefix(EVALUATION)
        if metric.endswith(_NULL):
            continue
        text = f"{metric} {_text(metric, value)}"
        null = values.get(f"{name}{_NULL}")
        if null is not None:
            text += f" (real images: {_text(metric, null)})"
        items.append(text)
    title = f"evaluation at image {progress.images_seen:,}, epoch {progress.epochs}"
    return [title, *_in_columns(items, width)]


def _in_columns(items: Sequence[str], width: int) -> list[str]:
    """Return rows of as many items as fit, with each item below the start of another one."""
    for columns in range(len(items), 1, -1):
        rows = [items[start : start + columns] for start in range(0, len(items), columns)]
        widths = []
        for column in range(columns):
            widths.append(max(len(row[column]) for row in rows if column < len(row)))
        if sum(widths) + len(_GAP) * columns <= width:
            return [_padded_row(row, widths) for row in rows]
    return [f"{_GAP}{text}" for text in items]


def _padded_row(texts: Sequence[str], widths: Sequence[int]) -> str:
    padded = [text.ljust(width) for text, width in zip(texts, widths, strict=False)]
    return f"{_GAP}{_GAP.join(padded)}".rstrip()


def log_line(progress: Progress, values: Mapping[str, float]) -> str:
    """Return an entry in one line of `name=value`, under the names of metrics.jsonl, for a log.

    An evaluation's line has `val` where that of training has `train`, and its names have no prefix.
    """
    is_evaluation = all(name.startswith(EVALUATION) for name in values)
    words = [
        time.strftime("%H:%M:%S"),
        "val" if is_evaluation else "train",
        f"images={progress.images_seen}/{progress.total}",
        f"epoch={progress.epochs}",
        f"done={percent_text(progress.fraction)}",
    ]
    left = progress.time_left(values.get(_SPEED))
    if left:
        words.append(f"left={left}")
    for name, value in values.items():
        known = name.removeprefix(EVALUATION) if is_evaluation else name
        text = percent_text(value) if _is_fraction(known) else value_text(value, separator="")
        words.append(f"{known}={text}")
    return " ".join(words)

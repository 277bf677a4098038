"""Reads the rows of metrics.jsonl, and reports the lines that are damaged."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple


class Row(NamedTuple):
    """A row of metrics.jsonl: its line, as it stands in the file, and its values."""

    line: bytes
    values: dict[str, Any]


def read_rows(path: Path) -> tuple[list[Row], list[str]]:
    """Return the rows of the file, and a text for each damaged line.

    A kill can cut a line short, and the disk can damage one.
    """
    rows: list[Row] = []
    problems: list[str] = []
    lines = path.read_bytes().split(b"\n")
    if not lines[-1]:
        lines.pop()
    for number, line in enumerate(lines, 1):
        values = _values(line)
        if values is None:
            problems.append(f"{path}: line {number} is damaged or cut short, and is left out")
        else:
            rows.append(Row(line, values))
    return rows, problems


def _values(line: bytes) -> dict[str, object] | None:
    try:
        values = json.loads(line.decode())
        has_clock = isinstance(values, dict) and math.isfinite(values["images_seen"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return values if has_clock else None


def rows_before(rows: Iterable[Row], images_seen: int, made_again: str = "") -> list[Row]:
    """Return the rows up to `images_seen`.

    made_again: leaves out the rows at `images_seen` that have a key with this beginning.
    """
    chosen: list[Row] = []
    for row in rows:
        is_made_again = bool(made_again) and any(key.startswith(made_again) for key in row.values)
        position = row.values["images_seen"]
        if position < images_seen or (position == images_seen and not is_made_again):
            chosen.append(row)
    return chosen


def last_metrics(path: Path) -> dict[str, float]:
    """Return the metrics of the last evaluation in the file by name; empty where there is none."""
    if not path.is_file():
        return {}
    rows, _ = read_rows(path)
    for row in reversed(rows):
        metrics = {
            key.removeprefix("val_"): value
            for key, value in row.values.items()
            if key.startswith("val_")
        }
        if metrics:
            return {name: value for name, value in metrics.items() if not name.endswith("_null")}
    return {}

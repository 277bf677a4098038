"""The common parts of the benchmarks: arguments, the JSON file, the table."""

import argparse
import datetime
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gantrain.bench.machine_record import hardware, versions, without_paths
from gantrain.core import files

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
RATES = ("images/s", "samples/s")
Row = dict[str, Any]


def resident(name: str) -> float:
    """Return a memory count of this process in GiB: VmRSS is the present size, VmHWM the peak.

    It returns 0 on systems other than Linux.
    """
    status = Path("/proc/self/status")
    found = (
        re.search(rf"^{name}:\s*(\d+) kB", status.read_text(), re.M) if status.is_file() else None
    )
    return int(found[1]) / 2**20 if found else 0.0


def positive(text: str) -> int:
    """Parse an argument that is 1 or more."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"found {text}, allowed: 1 or more")
    return number


def counts(text: str) -> list[int]:
    """Parse an argument of whole numbers such as 1,2,4."""
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise argparse.ArgumentTypeError(f"found {text!r}, allowed: whole numbers such as 1,2,4")
    return [int(number) for number in text.split(",")]


def positives(text: str) -> list[int]:
    """Parse an argument of whole numbers that are 1 or more."""
    return [positive(str(number)) for number in counts(text)]


def write(name: str, out: Path, rows: Sequence[Row], **more: Any) -> Path:
    """Write `out`/NAME-DATE.json, and return its path.

    more: what was measured, such as recipes and settings.
    """
    now = datetime.datetime.now().astimezone()
    content = {
        "benchmark": name,
        "date": now.isoformat(timespec="seconds"),
        "command": f"{Path(sys.argv[0]).name} {' '.join(sys.argv[1:])}",
        "hardware": hardware(),
        "versions": versions(["webdataset"]),
        **more,
        "rows": rows,
    }
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}-{now:%Y-%m-%d-%H%M%S}.json"
    files.write_text(path, json.dumps(without_paths(content), indent=1) + "\n")
    return path


def constants(rows: Sequence[Row]) -> Row:
    """Return the settings that all of several rows share."""
    first = rows[0] if len(rows) > 1 else {}
    return {
        k: v
        for k, v in first.items()
        if isinstance(v, bool | int | str) and all(r.get(k) == v for r in rows)
    }


def markdown(rows: Sequence[Row]) -> str:
    """Return a Markdown table without the columns that all rows share or lack.

    Rates are written as `median (min..max)`, and other spreads as the median.
    """
    shared = constants(rows)
    names = list(
        dict.fromkeys(n for row in rows for n in row if row[n] is not None and n not in shared)
    )
    lines = [names, ["---"] * len(names)]
    lines += [[_cell(name, row.get(name)) for name in names] for row in rows]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    said = ", ".join(f"{name} {_cell(name, value)}" for name, value in shared.items())
    return f"{said and f'All rows: {said}.'}\n\n{table}".strip()


def _cell(name: str, value: Any) -> str:
    if isinstance(value, dict):
        middle, low, high = (number(value[key]) for key in ("median", "min", "max"))
        return f"{middle} ({low}..{high})" if name in RATES else middle
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else number(value) if isinstance(value, float) else str(value)


def number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def conclude(
    name: str,
    out: Path,
    rows: Sequence[Row],
    plot: Callable[[Sequence[Row], Path], None],
    **more: Any,
) -> None:
    """Write the file, draw the plot beside it and print the table."""
    path = write(name, out, rows, **more)
    on, by = hardware(), versions()
    print(f"\n{on['cpu']}, {on['cores']} cores, GPU: {on['gpu'] or 'none'}; torch {by['torch']}\n")
    print(markdown(rows))
    try:
        plot(rows, path.with_suffix(".png"))
    except ImportError:
        print("\nno plot: pip install 'gantrain[bench]'")
    print(f"\nwritten: {path}")

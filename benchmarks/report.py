"""The common parts of the benchmarks: interleaved repeats, hardware, the JSON file, the table."""

import argparse
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from gantrain.core import files
from gantrain.core.world import cores

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
RATES = ("images/s", "samples/s")
Row = dict[str, Any]


def alternate(contenders: Mapping[Any, Callable[[], float]], repeats: int) -> dict[Any, Row]:
    """Return the spread of each contender.

    A repeat measures all contenders, and every other repeat takes them in reverse order. Other work
    and the heat of the machine then affect all of them alike.
    """
    rates: dict[Any, list[float]] = {name: [] for name in contenders}
    for repeat in range(repeats):
        for name in [*contenders][:: -1 if repeat % 2 else 1]:
            rates[name].append(contenders[name]())
        if os.environ.get("RANK", "0") == "0":
            print(f"repeat {repeat + 1} of {repeats}", file=sys.stderr, flush=True)
    return {name: spread(found) for name, found in rates.items()}


def spread(rates: Sequence[float]) -> Row:
    """Return the median, the extremes and all repeats in their order."""
    return {
        "median": rounded(statistics.median(rates)),
        "min": rounded(min(rates)),
        "max": rounded(max(rates)),
        "repeats": [rounded(rate) for rate in rates],
    }


def rounded(value: float) -> float:
    return float(f"{value:.4g}")


def ratio(ours: Row, theirs: Row) -> float:
    """Return the ratio of the medians of two spreads."""
    return round(ours["median"] / theirs["median"], 3)


def hardware() -> Row:
    """Return the CPU, the cores and the GPUs, and nothing that identifies the machine."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"cpu": _cpu(), "cores": cores(), "gpu": ", ".join(gpus) or None}


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


def versions() -> Row:
    names = ("torch", "gantrain", "numpy", "Pillow", "webdataset")
    return {
        "python": platform.python_version(),
        **{name.lower(): version(name) for name in names},
        "commit": _commit(),
    }


def _commit() -> str | None:
    """Return the commit, with `-dirty` if tracked files differ from it."""
    command = ["git", "--no-optional-locks", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def without_paths(content: Any) -> Any:
    """Return the content with each absolute path cut to its last name.

    Results are published, and must not show the machine.
    """
    if isinstance(content, dict):
        return {key: without_paths(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [without_paths(value) for value in content]
    if isinstance(content, str):
        return re.sub(r"(?<![\w.])[~/][^\s,]*/(?=[^\s,])", "", content)
    return content


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
        "versions": versions(),
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

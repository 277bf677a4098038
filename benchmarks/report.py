"""What the benchmarks share: interleaved repeats, what they ran on, the JSON file and the table."""

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

from gantrain.world import cores

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
Row = dict[str, Any]


def alternate(contenders: Mapping[Any, Callable[[], float]], repeats: int) -> dict[Any, Row]:
    """Each contender's spread. A repeat measures all of them, every other one in reverse order.

    What the machine does besides (other jobs, heat) then meets all of them alike.
    """
    rates: dict[Any, list[float]] = {name: [] for name in contenders}
    for repeat in range(repeats):
        for name in [*contenders][:: -1 if repeat % 2 else 1]:
            rates[name].append(contenders[name]())
        if os.environ.get("RANK", "0") == "0":
            print(f"repeat {repeat + 1} of {repeats}", file=sys.stderr, flush=True)
    return {name: spread(found) for name, found in rates.items()}


def spread(rates: Sequence[float]) -> Row:
    """Median, extremes and all repeats, in their order."""
    return {
        "median": round(statistics.median(rates), 3),
        "min": round(min(rates), 3),
        "max": round(max(rates), 3),
        "repeats": [round(rate, 3) for rate in rates],
    }


def ratio(ours: Row, theirs: Row) -> float:
    """Of two spreads' medians."""
    return round(ours["median"] / theirs["median"], 3)


def hardware() -> Row:
    """CPU, cores and GPUs; nothing that tells which machine it is."""
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
    names = ("torch", "gantrain", "numpy", "Pillow")
    return {"python": platform.python_version(), **{name.lower(): version(name) for name in names}, "commit": _commit()}


def _commit() -> str | None:
    """The commit, with `-dirty` where tracked files differ from it."""
    command = ["git", "--no-optional-locks", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def without_paths(content: Any) -> Any:
    """The same with each absolute path cut to its last name: results are published."""
    if isinstance(content, dict):
        return {key: without_paths(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [without_paths(value) for value in content]
    if isinstance(content, str):
        return re.sub(r"(?<![\w.])[~/][^\s,]*/(?=[^\s,])", "", content)
    return content


def write(name: str, out: Path, rows: Sequence[Row], **more: Any) -> Path:
    """`out`/NAME-DATE.json; `more` says what was measured (recipe, settings)."""
    now = datetime.datetime.now().astimezone()
    content = {
        "benchmark": name,
        "date": now.isoformat(timespec="seconds"),
        "command": f"{name}.py {' '.join(sys.argv[1:])}",
        "hardware": hardware(),
        "versions": versions(),
        **more,
        "rows": rows,
    }
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}-{now:%Y-%m-%d-%H%M%S}.json"
    path.write_text(json.dumps(without_paths(content), indent=1) + "\n", encoding="utf-8")
    return path


def markdown(rows: Sequence[Row]) -> str:
    """A table to paste: spreads as `median (min..max)`, no columns without values."""
    names = list(dict.fromkeys(n for row in rows for n in row if row[n] is not None))
    lines = [names, ["---"] * len(names)]
    lines += [[_cell(row.get(name)) for name in names] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return f"{_number(value['median'])} ({_number(value['min'])}..{_number(value['max'])})"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else _number(value) if isinstance(value, float) else str(value)


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def conclude(name: str, out: Path, rows: Sequence[Row], **more: Any) -> None:
    """Write the file and print the table."""
    path = write(name, out, rows, **more)
    on, by = hardware(), versions()
    print(f"\n{on['cpu']}, {on['cores']} cores, GPU: {on['gpu'] or 'none'}; torch {by['torch']}\n")
    print(markdown(rows))
    print(f"\nwritten: {path}")

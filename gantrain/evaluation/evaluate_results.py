"""The results of `gantrain evaluate`: a table for the console, and records for a JSON file."""

import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from gantrain.core.console import cell
from gantrain.core.errors import UserError
from gantrain.core.files import write_text
from gantrain.metrics.feature_set import EXTRACTOR_BATCH
from gantrain.metrics.metric_suite import Record

_PACKAGES = ("gantrain", "torch", "torchvision", "torchmetrics", "torch_fidelity", "timm", "pillow")
_COLUMNS = ("set", "metric", "value", "null", "n", "null's n")

Results = dict[str, list[Record]]  # by test set


def table(results: Results) -> Table:
    """Return a table for the console with a row for each set and metric."""
    content = Table(*_COLUMNS, box=None)
    for name, of_set in results.items():
        for record in of_set:
            content.add_row(*_row(name, record))
    return content


def _row(set_name: str, record: Record) -> list[str]:
    value = record.problem if record.value is None else f"{record.value:.5g}"
    return [
        cell(set_name),
        record.name,
        cell(value),
        "" if record.null is None else f"{record.null:.5g}",
        str(record.n),
        str(record.null_n or ""),
    ]


def records(results: Results, about: Mapping[str, Any]) -> list[dict[str, object]]:
    """Return a record for each test set and metric. Each is complete without the others."""
    installed = {package.name: package.version for package in importlib.metadata.distributions()}
    common = {
        **about,
        # Of the model and of the metrics' networks: numbers of all machines can be compared.
        "precision": "fp32",
        "extractor_batch": EXTRACTOR_BATCH,
        "versions": {name: installed[name] for name in _PACKAGES if name in installed},
    }
    contents = about["content"]
    content: list[dict[str, object]] = []
    for name, of_set in results.items():
        for record in of_set:
            content.append({"set": name, **asdict(record), **common, "content": contents[name]})
    return content


def write_json(path: Path, results: Results, about: Mapping[str, object]) -> None:
    """Write the records of `results` as JSON. Raises UserError."""
    write_records(path, records(results, about))


def write_records(path: Path, content: list[dict[str, object]]) -> None:
    """Write records as JSON. Raises UserError."""
    try:
        write_text(path, json.dumps(content, indent=1) + "\n")
    except OSError as e:
        raise UserError(
            f"--out: cannot write {path} ({e.strerror}); make space, or give another file"
        ) from None

"""The options of `gantrain evaluate`, checked before anything is measured."""

import os
from pathlib import Path
from typing import Any

from gantrain.core.errors import UserError
from gantrain.core.paths import check_not_special
from gantrain.core.wording import option
from gantrain.metrics import registry

# Together they show blur, noise, tint, wrong contrast and collapse, and need no weights.
STANDARD = ("fd_random0", "recall_random0", "swd", "spectrum", "histogram", "diversity")


def metric_names(text: str) -> list[str]:
    """Return the names of the metrics in a text such as `fid,l1`. Raises UserError."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names or [""]:
        try:
            registry.check(name)
        except ValueError as e:
            raise UserError(f"{option('metrics')}: found {name!r}, {e}") from None
    return names


def check_out(path: Path | None) -> None:
    """Refuse a file for the results that cannot be written. Raises UserError."""
    if path is None:
        return
    check_not_special(path, "--out")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UserError(f"--out: no folder {path.parent}; make it first")
    if path.is_dir() or not os.access(folder, os.W_OK):
        raise UserError(f"--out: {path} cannot be written; give another file")


def best_first(options: dict[str, Any]) -> dict[str, object]:
    """Return settings of `evaluate` whose `best_by` is valid.

    The schema wants one of the metrics, and an evaluation does not use it.
    """
    return {**options, "best_by": options["metrics"][0]}

"""The folder of a run: its lock, its status, its recipe and its metrics."""

import errno
import json
import os
import shlex
import socket
import time
from pathlib import Path
from typing import Any

from gantrain.core import files, formats
from gantrain.core.console import say
from gantrain.core.errors import UserError
from gantrain.core.paths import check_not_special
from gantrain.core.yaml12 import read_mapping
from gantrain.recipe.differences import differences
from gantrain.recipe.schema import Recipe
from gantrain.runs import checkpoint
from gantrain.runs.best_checkpoint import link_best
from gantrain.runs.metric_rows import read_rows, rows_before

_PATIENCE_SECONDS = 15
_STATUS_BYTES = 1 << 20


class Run:
    """`runs/NAME`, held by one process.

    Raises UserError where another process holds it, or where it was started with another recipe.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.folder = recipe.folder
        self.checkpoints = self.folder / "checkpoints"
        self.metrics = self.folder / "metrics.jsonl"
        self.recipe = self.folder / "recipe.yaml"
        self._rows = ""  # of the metrics, not yet written
        for name in ("", ".lock", "recipe.yaml", "status.json", "metrics.jsonl", "checkpoints"):
            check_not_special(self.folder / name, "run")
        self._reported: set[Path] = set()  # damaged checkpoints
        self._reported_link = False
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            self._lock = (self.folder / ".lock").open("a")
        except OSError as e:
            raise UserError(
                f"run: cannot write {self.folder} ({e.strerror}); start where you may write"
            ) from None
        try:
            self._hold()
            self._compare(recipe)
            checkpoint.clean(self.checkpoints)
            files.clean(self.folder)
            files.clean(self.folder / "previews")
        except ValueError:
            self.close()
            raise

    def _hold(self) -> None:
        """Take the lock; a process that is leaving may hold it for a while."""
        for wait in range(_PATIENCE_SECONDS, -1, -1):
            try:
                if files.try_lock(self._lock.fileno()):
                    return
            except OSError as e:  # some clusters' file systems
                raise UserError(
                    f"run: cannot lock {self.folder} ({e.strerror}), so that two jobs might write "
                    "it; mount its file system with locks, or link runs/ to one that has them"
                ) from None
            status = self.status()
            writer = f"process {status.get('process', '?')} on {status.get('host', '?')}"
            if wait == _PATIENCE_SECONDS:
                say(f"waiting for {writer} to leave {self.folder}")
            time.sleep(min(wait, 1))
        raise UserError(
            f"run: {self.folder} is being written by another process ({writer}); "
            "wait for it, stop it, or choose run=OTHER"
        )

    def _compare(self, recipe: Recipe) -> None:
        """Raise UserError where the run was started with another recipe."""
        if not (checkpoint.list_checkpoints(self.checkpoints) and self.recipe.is_file()):
            return
        changes = differences(self.saved_recipe(), recipe.dump())
        if not changes:
            return
        same = (
            f"recipe={shlex.quote(str(self.recipe))} goes on as it was started, also with"
            " another length"
        )
        other = (
            f"run=OTHER starts afresh, and with init_from={shlex.quote(str(self.folder))} from"
            " its weights"
        )
        problem = (
            f"run: {self.folder} was started with another recipe; undo the changes: {same}; or"
            f" {other}"
        )
        raise UserError("\n".join([problem, *(f"  {change}" for change in changes)]))

    def saved_recipe(self) -> dict[str, Any]:
        """Return the recipe that the run was started with. Raises UserError, in one line."""
        advice = (
            f"remove it, then the recipe of {self.checkpoints} is not compared, or choose run=OTHER"
        )
        try:
            content = read_mapping(self.recipe)
        except ValueError as e:
            raise UserError(
                f"run: {self.recipe} is damaged ({' '.join(str(e).split())}); {advice}"
            ) from None
        formats.check_format(
            self.recipe, content, formats.RUN, "choose run=OTHER, or remove the run"
        )
        return {key: value for key, value in content.items() if key != "format"}

    def begin(
        self, recipe: Recipe, images_seen: int, init_from: list[str], left_marks: bool
    ) -> None:
        """Prepare the folder for training from that position, and set the status `running`.

        It is called after all checks, so a refused start changes nothing. Raises UserError.
        """
        try:
            files.write_text(self.recipe, f"format: {formats.RUN}\n{recipe.yaml()}", sync=True)
            # A start that was cut short may have left rows that this one writes again.
            made_again = "val_" if left_marks else ""
            if init_from:
                made_again = "init_from"
            self._forget_after(images_seen or -1, made_again)
            if init_from:
                self.log({"images_seen": images_seen, "init_from": init_from})
            self.set_status("running", images_seen)
        except OSError as e:
            raise UserError(
                f"run: cannot write {self.folder} ({e.strerror}); make space there"
            ) from None

    def latest(self) -> Path | None:
        return checkpoint.latest(self.checkpoints)

    def add_metrics(self, folder: Path, metrics: dict[str, float]) -> None:
        """Add the metrics of a postponed evaluation to a checkpoint.

        Where the disk refuses, the next start evaluates.
        """
        try:
            checkpoint.add_metrics(folder, metrics)
        except OSError as e:
            say(f"checkpoint: the metrics could not be added to {folder} ({e}); training goes on")

    def link_best(self, metric: str, count: int) -> None:
        """Renew the link to the best checkpoint; report once why there is none."""
        problem = link_best(self.folder, metric, count)
        if problem and not self._reported_link:
            self._reported_link = True
            say(f"checkpoint: {problem}; `--best` finds the best checkpoint without it")

    def report_damaged(self, folders: list[Path]) -> None:
        """Name damaged checkpoints beside the run's whole ones, once."""
        for folder in folders:
            if folder not in self._reported:
                say(
                    f"checkpoint: {folder} is damaged; it is not used, and stays until you"
                    " remove it"
                )
                self._reported.add(folder)

    def status(self) -> dict[str, Any]:
        """Return the content of status.json; empty where there is none, or a damaged one."""
        path = self.folder / "status.json"
        try:
            content = files.read_json(path, _STATUS_BYTES)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            content = None
        if not isinstance(content, dict):
            say(f"run: {path} is damaged, and is not used; the run writes it again")
            return {}
        return content

    def set_status(self, state: str, images_seen: int, reason: str = "") -> None:
        """Write status.json. state: running, unfinished, finished or failed."""
        content = {"state": state, "images_seen": images_seen, "reason": reason}
        content |= {"process": os.getpid(), "host": socket.gethostname()}
        files.write_text(self.folder / "status.json", json.dumps(content, indent=1), sync=True)

    def _forget_after(self, images_seen: int, made_again: str) -> None:
        """Drop the metric rows that the resumed run will write again."""
        if not self.metrics.is_file():
            return
        rows, problems = read_rows(self.metrics)
        for problem in problems:
            say(problem)
        remaining = rows_before(rows, images_seen, made_again)
        content = b"".join(row.line + b"\n" for row in remaining)
        files.write_bytes(self.metrics, content, sync=True)

    def flush_metrics(self) -> None:
        """Flush the rows to the disk, before the checkpoint that follows them is written."""
        if self.metrics.is_file():
            files.flush(self.metrics)

    def log(self, row: dict[str, Any]) -> None:
        """Append a row to metrics.jsonl.

        Raises OSError where the disk refuses; the row is then written with the next one.
        """
        self._rows += json.dumps(row) + "\n"
        content = self._rows.encode()
        with self.metrics.open("ab", buffering=0) as file:
            size = file.tell()
            try:
                if file.write(content) < len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                file.truncate(size)
                raise
        self._rows = ""

    def close(self) -> None:
        files.unlock(self._lock.fileno())  # the loader's processes have inherited it
        self._lock.close()

"""A run's folder: one writer, its status, and whether the same command starts or resumes it."""

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from gantrain import checkpoint
from gantrain.console import say
from gantrain.recipe import Recipe, differences
from gantrain.yaml12 import read_mapping

_PATIENCE_SECONDS = 15


class Run:
    """`runs/NAME`, held by one process.

    Raises ValueError where another process holds it, or where its recipe was another.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.folder = recipe.folder
        self.checkpoints = self.folder / "checkpoints"
        self.metrics = self.folder / "metrics.jsonl"
        self.recipe = self.folder / "recipe.yaml"
        self._rows = ""  # of the metrics, not yet written
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            self._lock = (self.folder / ".lock").open("a")
        except OSError as e:
            raise ValueError(f"run: cannot write {self.folder} ({e.strerror}); start where you may write") from None
        try:
            self._hold()
            self._compare(recipe)
            checkpoint.clean(self.checkpoints)
        except ValueError:
            self.close()
            raise

    def _hold(self) -> None:
        """Take the lock; a process that is leaving may hold it for a while."""
        for wait in range(_PATIENCE_SECONDS, -1, -1):
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                status = self.status()
                writer = f"process {status.get('process', '?')} on {status.get('host', '?')}"
            except OSError as e:  # some clusters' file systems
                raise ValueError(
                    f"run: cannot lock {self.folder} ({e.strerror}), so that two jobs might write "
                    "it; mount its file system with locks, or link runs/ to one that has them"
                ) from None
            if wait == _PATIENCE_SECONDS:
                say(f"waiting for {writer} to leave {self.folder}")
            time.sleep(min(wait, 1))
        raise ValueError(
            f"run: {self.folder} is being written by another process ({writer}); "
            "wait for it, stop it, or choose run=OTHER"
        )

    def _compare(self, recipe: Recipe) -> None:
        if checkpoint.found(self.checkpoints) and self.recipe.is_file():
            before = read_mapping(self.recipe)
            if changed := differences(before, recipe.dump()):
                raise ValueError(
                    f"run: {self.folder} was started with another recipe; undo the changes or choose run=OTHER\n"
                    + "\n".join(f"  {c}" for c in changed)
                )

    def begin(self, recipe: Recipe, images_seen: int, init_from: list[str]) -> None:
        """Say that the run goes on from there; what a refused start finds is left as it was."""
        try:
            checkpoint.write_whole(self.recipe, recipe.yaml())
            self.forget_after(images_seen or -1)  # of a start that was cut short, its row of init_from too
            if init_from:
                self.log({"images_seen": images_seen, "init_from": init_from})
            self.set_status("running", images_seen)
        except OSError as e:
            raise ValueError(f"run: cannot write {self.folder} ({e.strerror}); make space there") from None

    def latest(self) -> Path | None:
        return max(checkpoint.found(self.checkpoints), default=None)

    def status(self) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads((self.folder / "status.json").read_text())
        except (OSError, ValueError):
            return {}
        return content

    def set_status(self, state: str, images_seen: int, reason: str = "") -> None:
        """state: running, unfinished, finished or failed."""
        content = {"state": state, "images_seen": images_seen, "reason": reason}
        content |= {"process": os.getpid(), "host": socket.gethostname()}
        checkpoint.write_whole(self.folder / "status.json", json.dumps(content, indent=1))

    def forget_after(self, images_seen: int) -> None:
        """Drop the metric rows that the resumed run will write again."""
        if not self.metrics.is_file():
            return
        kept = []
        for line in self.metrics.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["images_seen"] <= images_seen:
                    kept.append(line + "\n")
            except (ValueError, KeyError):
                continue  # a line cut short by a kill
        checkpoint.write_whole(self.metrics, "".join(kept))

    def log(self, row: dict[str, Any]) -> None:
        """Raises OSError where the disk refuses; the row is then written with the next one."""
        self._rows += json.dumps(row) + "\n"
        with self.metrics.open("ab", buffering=0) as file:
            size = file.tell()
            try:
                if file.write(data := self._rows.encode()) < len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                file.truncate(size)
                raise
        self._rows = ""

    def close(self) -> None:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(self._lock, fcntl.LOCK_UN)  # the loader's processes have inherited it
        self._lock.close()

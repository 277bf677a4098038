"""A run's folder: one writer, its status, and whether the same command starts or resumes it."""

import fcntl
import json
import os
import socket
from pathlib import Path
from typing import Any

import yaml

from gantrain import checkpoint
from gantrain.recipe import Recipe, differences

STATES = ("running", "unfinished", "finished", "failed")


class Run:
    """`runs/NAME`, held by one process.

    Raises ValueError where another process holds it, or where its recipe was another.
    """

    def __init__(self, recipe: Recipe) -> None:
        name = recipe.run or recipe.name
        if "/" in name or name.startswith("."):
            raise ValueError(f"run: found {name!r}, allowed: a plain name; the folder is runs/NAME")
        self.folder = Path("runs") / name
        self.checkpoints = self.folder / "checkpoints"
        self.metrics = self.folder / "metrics.jsonl"
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            self._lock = (self.folder / ".lock").open("a")
        except OSError as e:
            raise ValueError(
                f"run: cannot write {self.folder} ({e.strerror}); start from a folder you may write to"
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(
                f"run: {self.folder} is being written by another process ({self._writer()}); "
                "wait for it, stop it, or choose run=OTHER"
            ) from None
        checkpoint.clean(self.checkpoints)
        self._compare(recipe)

    def _writer(self) -> str:
        status = self.status()
        return f"process {status.get('process', '?')} on {status.get('host', '?')}"

    def _compare(self, recipe: Recipe) -> None:
        path = self.folder / "recipe.yaml"
        if checkpoint.found(self.checkpoints) and path.is_file():
            before = yaml.safe_load(path.read_text(encoding="utf-8"))
            changed = differences(before, recipe.dump())
            if changed:
                raise ValueError(
                    f"run: {self.folder} was started with another recipe; "
                    f"undo the changes or choose run=OTHER\n" + "\n".join(f"  {c}" for c in changed)
                )
        checkpoint.write_whole(path, recipe.yaml())

    def latest(self) -> Path | None:
        folders = checkpoint.found(self.checkpoints)
        return folders[-1] if folders else None

    def status(self) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads((self.folder / "status.json").read_text())
        except (OSError, ValueError):
            return {}
        return content

    def set_status(self, state: str, images_seen: int, reason: str = "") -> None:
        assert state in STATES
        content = {
            "state": state,
            "images_seen": images_seen,
            "reason": reason,
            "process": os.getpid(),
            "host": socket.gethostname(),
        }
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
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def close(self) -> None:
        self._lock.close()

"""Sends scalars and previews to TensorBoard and other trackers, through Accelerate."""

import contextlib
import json
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker, get_available_trackers

from gantrain.core import files
from gantrain.core.console import say
from gantrain.core.errors import UserError
from gantrain.core.printable import printable
from gantrain.recipe.schema import Recipe

_PROJECT = "gantrain"  # the default, and TensorBoard's folder in a run
_WANDB_FILE = "wandb.json"  # in a run's folder: the id by which a resumed run goes on in W&B
_WANDB_FILE_BYTES = 1000
_LONGEST = 300  # characters of an error of a tracker


def check_trackers(recipe: Recipe) -> None:
    """Raise UserError for a name that Accelerate doesn't know, or whose package is missing.

    With `tracker_failure: continue`, a missing package is reported when the trackers start.
    """
    names = recipe.trackers
    allowed = [str(name) for name in LOGGER_TYPE_TO_CLASS]
    installed = [str(name) for name in get_available_trackers()]
    for name in names:
        if name not in allowed:
            raise UserError(f"trackers: found {name!r}, allowed: {', '.join(allowed)}")
        if name not in installed and recipe.tracker_failure == "stop":
            advice = "or train without it by tracker_failure=continue"
            raise UserError(
                f"trackers: {name} is not installed; pip install {name}, drop it, {advice}"
            )


def group(name: str) -> str:
    """Return a name of metrics.jsonl in its group: `val/l1` for `val_l1`, `train/gan` for `gan`."""
    if name.startswith("val_"):
        return f"val/{name.removeprefix('val_')}"
    if name.endswith("_gradient"):  # the norm of a phase's gradient
        return f"phase/{name}"
    return f"train/{name}"


class Trackers:
    """The trackers of a run, on rank 0; the other ranks have none.

    problem: that a tracker has failed, where `tracker_failure` is `stop`; else empty.
    """

    def __init__(self, recipe: Recipe, is_main: bool) -> None:
        self.recipe = recipe
        self.problem = ""
        self._names = list(dict.fromkeys(recipe.trackers)) if is_main else []
        self._active: dict[str, GeneralTracker] = {}
        self._hook = threading.excepthook

    def start(self, images_seen: int) -> None:
        """Open the trackers.

        Raises UserError for one that can't start, where `tracker_failure` is `stop`.
        """
        threading.excepthook = self._handle_thread_error
        for name in self._names:
            try:
                self._active[name] = self._open(name, images_seen)
            except Exception as error:  # a tracker raises what it likes
                problem = f"trackers: {name} could not start ({_in_one_line(error)})"
                if self.recipe.tracker_failure == "stop":
                    advice = (
                        f"mend it, drop {name} from trackers, or train without it by"
                        " tracker_failure=continue"
                    )
                    raise UserError(f"{problem}; {advice}") from None
                say(f"{problem}; training goes on without it (tracker_failure: continue)")

    def log(self, values: dict[str, float], images_seen: int) -> None:
        """Send values by their names in metrics.jsonl, in groups."""
        grouped = {group(name): value for name, value in values.items()}
        self._each(lambda tracker: tracker.log(grouped, step=images_seen))

    def log_preview(self, picture: np.ndarray, images_seen: int, label: str) -> None:
        """Send an HW3 uint8 picture to each tracker that takes images.

        label: that of `RunLogger.preview`.
        """
        tag = f"previews/{label or 'held_out'}"

        def send(tracker: GeneralTracker) -> None:
            if hasattr(tracker, "log_images"):
                layout = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
                tracker.log_images({tag: picture[None]}, step=images_seen, **layout)

        self._each(send)

    def finish(self) -> None:
        """Close the trackers; the end of a run is no time to stop for one that fails."""
        for name, tracker in self._active.items():
            try:
                tracker.finish()
            except Exception as error:
                say(f"trackers: {name} could not be closed ({_in_one_line(error)})")
        self._active = {}
        if threading.excepthook == self._handle_thread_error:
            threading.excepthook = self._hook

    def _handle_thread_error(self, arguments: threading.ExceptHookArgs) -> None:
        """Leave out the traceback of TensorBoard's writer: the next value raises its error."""
        if not type(arguments.thread).__module__.startswith("tensorboard."):
            self._hook(arguments)

    def _each(self, work: Callable[[GeneralTracker], None]) -> None:
        """Apply `work` to each tracker; one that fails is dropped, and reported once."""
        for name, tracker in list(self._active.items()):
            try:
                work(tracker)
            except Exception as error:
                del self._active[name]
                self._report(f"trackers: {name} failed ({_in_one_line(error)})")

    def _report(self, problem: str) -> None:
        if self.recipe.tracker_failure == "stop":
            self.problem = self.problem or problem
        else:
            say(f"{problem}; training goes on without it (tracker_failure: continue)")

    def _open(self, name: str, images_seen: int) -> GeneralTracker:
        make: Any = LOGGER_TYPE_TO_CLASS[name]
        folder = self.recipe.folder
        if name == "tensorboard":  # drops what the resumed run will write again
            tracker = make(_PROJECT, str(folder), purge_step=images_seen + 1)
        elif name == "wandb":
            tracker = make(self._project(), **_wandb_options(folder))
        elif make.requires_logging_directory:
            tracker = make(self._project(), str(folder))
        else:
            tracker = make(self._project())
        tracker.start()
        # TensorBoard's own way makes a second run, of the settings alone.
        if name == "tensorboard":
            indented = "".join(f"    {line}\n" for line in self.recipe.yaml().splitlines())
            tracker.log({"recipe": indented}, step=images_seen)
        else:
            tracker.store_init_configuration(dict(_flat(self.recipe.dump())))
        return tracker

    def _project(self) -> str:
        return self.recipe.tracker_project or os.environ.get("WANDB_PROJECT") or _PROJECT


def _flat(content: dict[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            is_plain = isinstance(value, int | float | str)
            yield prefix + key, value if is_plain else str(value)


def _wandb_options(folder: Path) -> dict[str, object]:
    """Return the options of W&B by which its run has the run's name, and resumes with the run."""
    return {
        "name": folder.name,
        "id": _wandb_id(folder / _WANDB_FILE),
        "resume": "allow",
        "dir": str(folder),
    }


def _wandb_id(path: Path) -> str:
    """Return the run's id in W&B, from the run's folder; a new one where the folder has none."""
    with contextlib.suppress(FileNotFoundError):
        try:
            content = files.read_json(path, _WANDB_FILE_BYTES)
            if isinstance(content, dict) and isinstance(content.get("id"), str):
                return str(content["id"])
        except ValueError:
            pass
        say(f"trackers: {path} is damaged, so that this run becomes a new one in W&B")
    new = secrets.token_hex(4)
    files.write_text(path, json.dumps({"id": new}))
    return new


def _in_one_line(error: Exception) -> str:
    text = printable(" ".join(str(error).split()))
    return f"{type(error).__name__}: {text}"[:_LONGEST]

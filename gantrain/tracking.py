"""Scalars and previews to TensorBoard and its like, through Accelerate's trackers."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers


def check_trackers(names: list[str]) -> None:
    """Raises ValueError for a name that Accelerate doesn't know or whose package is missing."""
    allowed = [str(name) for name in LOGGER_TYPE_TO_CLASS]
    installed = [str(name) for name in get_available_trackers()]
    for name in names:
        if name not in allowed:
            raise ValueError(f"trackers: found {name!r}, allowed: {', '.join(allowed)}")
        if name not in installed:
            raise ValueError(f"trackers: {name} is not installed; pip install {name}, or drop it")


def _flat(content: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value if isinstance(value, int | float | str) else str(value)


def start(accelerator: Accelerator, recipe: dict[str, Any], images_seen: int) -> None:
    """Open the trackers; TensorBoard drops what the resumed run will write again."""
    settings = {"tensorboard": {"purge_step": images_seen + 1}}
    accelerator.init_trackers("gantrain", config=dict(_flat(recipe)), init_kwargs=settings)


def log_preview(accelerator: Accelerator, picture: np.ndarray, images_seen: int, label: str) -> None:
    """An HW3 uint8 picture to each tracker that takes images. label: as a `Journal`'s, a part of the tag."""
    tag = f"preview_{label}" if label else "preview"
    for tracker in accelerator.trackers:
        if hasattr(tracker, "log_images"):
            layout = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
            tracker.log_images({tag: picture[None]}, step=images_seen, **layout)

"""What a run tells while it goes: console, metrics.jsonl, trackers, previews; and its speed."""

import contextlib
import datetime
import resource
import sys
import time
from collections.abc import Iterator

import numpy as np
import torch

from gantrain.core.console import Display, say
from gantrain.data.pictures import save_png
from gantrain.runs.run_folder import Run
from gantrain.runs.trackers import Trackers


class Journal:
    """One on every rank; only rank 0, which has the `run`, writes."""

    def __init__(
        self, trackers: Trackers, run: Run | None, display: Display, epoch: int, images_seen: int
    ) -> None:
        self.trackers, self.run, self.display, self.epoch = trackers, run, display, epoch
        self._reset(images_seen)

    def _reset(self, images_seen: int) -> None:
        self._clock, self._waited, self._since = time.perf_counter(), 0.0, images_seen

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Around fetching a batch."""
        before = time.perf_counter()
        yield
        self._waited += time.perf_counter() - before

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Leave evaluation and saving out of images per second."""
        before = time.perf_counter()
        yield
        self._clock += time.perf_counter() - before

    def speed(self, images_seen: int) -> dict[str, float]:
        """Since the last call."""
        seconds = time.perf_counter() - self._clock
        speed = {
            "images_per_second": (images_seen - self._since) / seconds,
            "data_wait": self._waited / seconds,
        }
        self._reset(images_seen)
        return speed

    def record(self, images_seen: int, values: dict[str, float]) -> None:
        self.display.show(images_seen, values)
        with _despite_full_disk("metrics"):
            if self.run:
                now = datetime.datetime.now().isoformat(timespec="seconds")
                epoch = round(images_seen / self.epoch, 4)
                self.run.log({"images_seen": images_seen, "epoch": epoch, "time": now, **values})
        self.trackers.log(values, images_seen)

    def preview(self, images_seen: int, picture: np.ndarray, label: str) -> None:
        """Write an HW3 uint8 sheet. label: `test` or `training` samples; empty for held-out
        ones.
        """
        assert self.run
        name = f"{images_seen:09d}.{label}.png" if label else f"{images_seen:09d}.png"
        with _despite_full_disk("preview"):
            save_png(picture, self.run.folder / "previews" / name)
        self.trackers.log_preview(picture, images_seen, label)


@contextlib.contextmanager
def _despite_full_disk(what: str) -> Iterator[None]:
    """What a run tells is worth less than what it has learnt."""
    try:
        yield
    except OSError as e:
        say(f"{what}: could not be written ({e}); training goes on")


def memory_gib(device: torch.device) -> float:
    """The peak of the GPU's memory, or of the process where there is none."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    unit = 2**10 if sys.platform == "linux" else 1  # ru_maxrss is in KiB there, bytes on macOS
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def describe_damaged(replaced: set[str], left_out: set[str]) -> list[str]:
    """Lines that count and name the damaged samples: those of training, and those of held-out
    data.
    """
    lines: list[str] = []
    for what, damaged in (("replaced by others", replaced), ("left out", left_out)):
        if damaged:
            lines.append(f"damaged samples that were {what}: {len(damaged)}")
        lines += [f"  {text}" for text in sorted(damaged)]
    return lines

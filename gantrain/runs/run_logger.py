"""Reports a run while it trains: console, metrics.jsonl, trackers and previews; and its speed."""

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


class RunLogger:
    """The reports of a run. Each rank has one; only rank 0, which has the `run`, writes."""

    def __init__(
        self, trackers: Trackers, run: Run | None, display: Display, epoch: int, images_seen: int
    ) -> None:
        self.trackers = trackers
        self.run = run
        self.display = display
        self.epoch = epoch
        self._reset(images_seen)

    def _reset(self, images_seen: int) -> None:
        """Begin a new interval of the speed."""
        self._start = time.perf_counter()
        self._waiting_seconds = 0.0
        self._images_at_start = images_seen

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time inside, in which a batch is fetched, as waiting for data."""
        start = time.perf_counter()
        yield
        self._waiting_seconds += time.perf_counter() - start

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Leave the time inside, of evaluation or saving, out of the speed."""
        start = time.perf_counter()
        yield
        self._start += time.perf_counter() - start

    def speed(self, images_seen: int) -> dict[str, float]:
        """Return the images per second, and the fraction of waiting, since the last call."""
        seconds = time.perf_counter() - self._start
        speed = {
            "images_per_second": (images_seen - self._images_at_start) / seconds,
            "data_wait": self._waiting_seconds / seconds,
        }
        self._reset(images_seen)
        return speed

    def record(self, images_seen: int, values: dict[str, float]) -> None:
        """Report the values of a log point or an evaluation."""
        self.display.show(images_seen, values)
        with _despite_full_disk("metrics"):
            if self.run:
                now = datetime.datetime.now().isoformat(timespec="seconds")
                epoch = round(images_seen / self.epoch, 4)
                self.run.log({"images_seen": images_seen, "epoch": epoch, "time": now, **values})
        self.trackers.log(values, images_seen)

    def preview(self, images_seen: int, picture: np.ndarray, label: str) -> None:
        """Write a sheet, HW3 in uint8.

        label: `test` or `training` samples; empty for held-out ones.
        """
        assert self.run
        name = f"{images_seen:09d}.{label}.png" if label else f"{images_seen:09d}.png"
        with _despite_full_disk("preview"):
            save_png(picture, self.run.folder / "previews" / name)
        self.trackers.log_preview(picture, images_seen, label)


@contextlib.contextmanager
def _despite_full_disk(what: str) -> Iterator[None]:
    """Report an OSError of the disk inside, and go on: a report is worth less than the run."""
    try:
        yield
    except OSError as e:
        say(f"{what}: could not be written ({e}); training goes on")


def memory_gib(device: torch.device) -> float:
    """Return the peak of the GPU's memory, or of the process where there is none."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    unit = 2**10 if sys.platform == "linux" else 1  # ru_maxrss is in KiB there, bytes on macOS
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def describe_damaged(replaced: set[str], left_out: set[str]) -> list[str]:
    """Return lines that count and name the damaged samples.

    replaced: those of training. left_out: those of held-out data.
    """
    lines: list[str] = []
    for what, damaged in (("replaced by others", replaced), ("left out", left_out)):
        if damaged:
            lines.append(f"damaged samples that were {what}: {len(damaged)}")
        lines += [f"  {text}" for text in sorted(damaged)]
    return lines

"""The sides that `gantrain bench` compares: gantrain's own step and loader, and the plain loop's.

A side measures three kinds of work. `step` trains on one batch, again and again. `loader` makes
batches until their float images lie on the device. `both` trains on the loader's batches.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from torch import Tensor

from gantrain.bench.loose_files import LooseFiles, plain_loader, write_loose_files
from gantrain.bench.repeats import settle
from gantrain.bench.timed_loader import batches_per_second, untimed_batches
from gantrain.bench.training_loops import Plain, Trained, float_batch
from gantrain.core.amounts import ceil_div
from gantrain.core.errors import UserError
from gantrain.data.loader import PREFETCHED, RawBatch
from gantrain.training.setup import RunSetup

STEP = "step"
LOADER = "loader"
BOTH = "both"
WORKS: tuple[str, ...] = (STEP, LOADER, BOTH)
_PLAIN_PREFETCHED = 2  # PyTorch's default


class Side(Protocol):
    """One contender. name: as the table shows it. works: those that it measures."""

    name: str
    works: tuple[str, ...]

    def images_per_second(self, work: str) -> float:
        """Measure one kind of work."""
        ...


class OwnSide:
    """gantrain's training step, and its loader on the recipe's data.

    steps: of each measurement.
    """

    def __init__(self, setup: RunSetup, steps: int) -> None:
        self.name = "gantrain"
        self.works = WORKS
        self.setup = setup
        self.steps = steps
        self.workers = setup.data.workers(setup.threads)
        self.position = 0
        self.trained = Trained(setup)
        self.trained()  # compiles, allocates and chooses kernels

    def images_per_second(self, work: str) -> float:
        settle_device = partial(settle, self.setup.world)
        batch_size = self.setup.data.split.batch_size
        if work == STEP:
            return batch_size * _steps_per_second(self.trained, self.steps, settle_device)
        workers_per_stream = ceil_div(self.workers, len(self.setup.data.train.domains))
        untimed = untimed_batches(workers_per_stream, PREFETCHED)
        start = self.position
        self.position = start + (untimed + self.steps) * batch_size
        batches = self.setup.data.loader(start, self.position, self.workers)
        use = self.trained.on if work == BOTH else self._convert
        return batch_size * batches_per_second(batches, untimed, self.steps, use, settle_device)

    def _convert(self, raw: RawBatch) -> None:
        self.setup.micro_batches(raw, self.trained.images_seen)

    def check(self) -> None:
        """Raise UserError where steps were left out."""
        if self.trained.engine.read_nonfinite()[0]:
            raise UserError("gradients were not finite, so steps were left out; lower the lr")


class PlainSide:
    """The loop of research code in plain PyTorch, and its loader of loose files by Pillow.

    folder: an empty folder for the loose files. lines: on what is not compared. Raises UserError
    where the plain loop does not train the recipe.
    """

    def __init__(self, setup: RunSetup, steps: int, folder: Path) -> None:
        self.name = "plain loop"
        self.setup = setup
        self.steps = steps
        self.workers = setup.data.workers(setup.threads)
        self.batch_size = setup.data.split.batch_size
        self.plain = Plain(setup)
        self.step = self.plain.on(float_batch(setup, self.batch_size))
        self.step()
        self.works = WORKS
        self.lines: list[str] = []
        self.files: LooseFiles | None = None
        try:
            self.files = write_loose_files(setup, folder)
        except UserError as error:
            self.works = (STEP,)
            self.lines.append(f"the loader is not compared: {error}")

    def images_per_second(self, work: str) -> float:
        settle_device = partial(settle, self.setup.world)
        if work == STEP:
            return self.batch_size * _steps_per_second(self.step, self.steps, settle_device)
        assert self.files is not None
        untimed = untimed_batches(self.workers, _PLAIN_PREFETCHED)
        samples = (untimed + self.steps) * self.batch_size
        batches = plain_loader(self.files, samples, self.batch_size, self.workers)
        use = self._train if work == BOTH else self._move
        rate = batches_per_second(batches, untimed, self.steps, use, settle_device)
        return self.batch_size * rate

    def _train(self, batch: dict[str, Tensor]) -> None:
        self.plain.train(batch["source"], batch["target"])

    def _move(self, batch: dict[str, Tensor]) -> None:
        for images in batch.values():
            images.to(self.setup.world.device)


def _steps_per_second(
    step: Callable[[], None], steps: int, settle_device: Callable[[], None]
) -> float:
    settle_device()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    settle_device()
    return steps / (time.perf_counter() - start)

"""Measures of a step besides its rate: work, memory, phases, waiting and checkpoints."""

import copy
import ctypes
import gc
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from convolutions import eager
from report import resident
from torch.utils.flop_counter import FlopCounterMode

from gantrain.bench.repeats import settle
from gantrain.bench.training_loops import Plain, Trained, cycle, float_batch
from gantrain.runs import checkpoint
from gantrain.training.batch_split import BatchLayout
from gantrain.training.setup import RunSetup
from gantrain.training.step import Engine
from gantrain.training.train_state import snapshot


def flops_per_image(setup: RunSetup, plain: bool = False) -> int:
    """Return the floating-point operations of the training step for one image.

    They are those of matrix products and convolutions, forward and backward. A multiply-add is 2.
    They are counted in the step itself, on micro-batches of one image, over a whole cycle. There
    are two of them where the run has several, because a step of one micro-batch may have a forward
    less. A transposed convolution
    counts by its input, as in torch since 2.1. By its output, as some tools count, a U-Net would
    have three times the work. Normalisation, activations, the optimiser and EMA do not count. The
    networks are not those that are timed, since compiled networks cannot be counted.
    """
    one = eager(setup)
    one.data = copy.copy(setup.data)
    images = 1 if plain else min(setup.data.split.accumulation, 2)
    one.data.split = BatchLayout(images, ranks=1, micro_batch_size=1)
    step = Plain(one).on(float_batch(one, 1)) if plain else Trained(one, exchange=False)
    steps = 1 if plain else cycle(setup)
    with FlopCounterMode(display=False) as counter:
        for _ in range(steps):
            step()
    return round(counter.get_total_flops() / steps / images)


class PhaseClock:
    """Measures the milliseconds of each phase's turn.

    It reads the device's own clock where there is one, so that nothing waits for it.
    """

    def __init__(self, engine: Engine) -> None:
        self.cuda = engine.nonfinite.is_cuda
        self.turns: list[tuple[str, Any, Any]] = []
        engine.run_forward = self._timed(engine.run_forward)
        engine.run_phase = self._timed(engine.run_phase)

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of the engine that also notes its times. It begins with the runner."""

        def timed(runner: Any, *arguments: Any, **options: Any) -> Any:
            began = self._now()
            result = function(runner, *arguments, **options)
            self.turns.append((runner.phase.name, began, self._now()))
            return result

        return timed

    def _now(self) -> Any:
        if not self.cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def read(self, steps: int) -> dict[str, float]:
        """Return the mean time of `steps` steps by phase, since the last call.

        Call it after the device has finished its work.
        """
        sums: dict[str, float] = {}
        for name, began, ended in self.turns:
            took = began.elapsed_time(ended) if self.cuda else 1e3 * (ended - began)
            sums[name] = sums.get(name, 0.0) + took / steps
        self.turns.clear()
        return sums


class PeakMemory:
    """Measures the peak of the memory that was allocated since this object was made, in GiB.

    It is the memory of the GPU, or that of the process (on Linux).
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        gc.collect()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self.before = torch.cuda.memory_allocated(device) / 2**30
            return
        try:
            ctypes.CDLL(None).malloc_trim(
                0
            )  # Otherwise freed memory would be used again, and not count.
            Path("/proc/self/clear_refs").write_text("5")  # Reset the peak.
        except (AttributeError, OSError):
            pass
        self.before = resident("VmRSS")

    def gib(self) -> float | None:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**30 - self.before
        return resident("VmHWM") - self.before if self.before else None


def data_wait(trained: Trained, steps: int) -> float:
    """Return the fraction of the time in which the device has no batch and does nothing."""
    setup, waited = trained.setup, 0.0
    data = setup.data
    stop = (steps + 1) * data.split.batch_size
    batches = iter(data.loader(0, stop, data.workers(setup.threads)))
    next(batches)  # The start of the workers happens once in a run.
    settle(setup.world)
    start = time.perf_counter()
    for _ in range(steps):
        before = time.perf_counter()
        raw = next(batches)
        waited += time.perf_counter() - before
        trained.on(raw)
        if setup.world.device.type == "cuda":
            torch.cuda.synchronize()  # Waiting while the device computes does not count.
    share = waited / (time.perf_counter() - start)
    return sum(setup.world.gather(share)) / setup.world.size


def checkpoint_seconds(trained: Trained) -> float:
    """Return the seconds that the training waits for a checkpoint.

    All ranks take a snapshot, and rank 0 writes it.
    """
    world = trained.setup.world
    with tempfile.TemporaryDirectory() as folder:
        settle(world)
        start = time.perf_counter()
        tensors = snapshot(trained.engine, world)
        if world.is_main:
            checkpoint.save(Path(folder), trained.setup.recipe.yaml(), tensors, {"images_seen": 0})
        settle(world)
        return time.perf_counter() - start

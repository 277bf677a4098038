"""`gantrain doctor`: what would fail before it is trained, and what limits the speed."""

import importlib.metadata
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist

from gantrain.core.amounts import count_text
from gantrain.core.console import say
from gantrain.core.errors import RunStopped
from gantrain.core.world import World, cores, has_bf16, set_threads
from gantrain.data.cache import cache_folder
from gantrain.data.decode import decode_sample
from gantrain.data.remote import FetchFailed
from gantrain.data.shards import DamagedSample, Shards
from gantrain.runs import run_summary
from gantrain.runs.recipe_request import request_recipe
from gantrain.runs.run_folder import Run
from gantrain.runs.trackers import check_trackers
from gantrain.training import conv_timing, precision
from gantrain.training.conv_timing import Convolution
from gantrain.training.launcher import agree_with_launcher, check_ranks, exit_with_parent
from gantrain.training.setup import RunSetup
from gantrain.training.trial import try_method

_PACKAGES = ("torch", "accelerate", "webdataset", "torchmetrics", "deepspeed")
_SECONDS = 5.0  # that the loader and the step are measured for
_STYLES = {"ok": None, "note": "yellow", "fails": "bold red"}
_GIB = 2**30


class Findings:
    """Tells each finding in a line, on rank 0; `failed` once something would fail in training."""

    failed = False

    def add(self, name: str, text: str, state: str = "ok") -> None:
        self.failed |= state == "fails"
        if os.environ.get("RANK", "0") == "0":
            start = f"{name:>12}  {state:<5}  "
            say(start + text, _STYLES[state], indent=len(start))

    @contextmanager
    def catching(self, name: str) -> Iterator[None]:
        """What would stop a run is a finding for each of its lines."""
        try:
            yield
        except (ValueError, OSError) as e:
            for line in str(e).splitlines():
                self.add(name, line, "fails")
        except (FetchFailed, DamagedSample, torch.OutOfMemoryError) as e:
            text = str(e)
            if dist.is_initialized():  # the other ranks wait for this one
                raise RunStopped(f"{name}: {text}", alone=True) from None
            self.add(name, text, "fails")


def doctor(name: str | None, overrides: tuple[str, ...], verify: bool) -> bool:
    """Look at this machine, and at a recipe on it; returns whether it would train.

    Works in one process and in each process of a launcher. verify: read every sample.
    """
    found, recipe = Findings(), None
    if name:
        with found.catching("recipe"):
            recipe = agree_with_launcher(request_recipe(name, overrides))
            check_trackers(recipe)
            found.add("recipe", f"{recipe.name}, {recipe.method['name']}")
    exit_with_parent()
    with World(recipe.device if recipe else "auto") as world:
        _machine(found, world)
        if recipe:
            if world.is_main and recipe.folder.exists():
                with found.catching("run"):
                    run = Run(recipe)
                    found.add("run", f"goes on from {run.latest() or 'its start'}", "note")
                    run.close()
            with found.catching("data"):
                check_ranks(world, recipe)
                parts = RunSetup(recipe, world)
                found.add("data", run_summary.describe_data(parts.data.train, recipe.data.train))
                found.add("batch", f"{parts.data.split}, {parts.precision}")
                found.add("precision", _describe_precision(parts))
                for line in parts.data.held_out_lines:
                    found.add("held out", line, "note")
                for line in parts.size_warnings:
                    found.add("size", line.removeprefix("warning: "), "note")
                sets = {
                    "train": parts.data.train,
                    "validation": parts.data.held_out,
                    "test": parts.data.test,
                }
                for key, data in sets.items():
                    for shards in data.domains if verify and data else ():
                        with found.catching("samples"):
                            found.add("samples", f"data.{key}: {_verify(parts, shards)}")
                with found.catching("method"):
                    try_method(parts)
                    with found.catching("speed"):
                        _speeds(found, parts)
        return not any(world.gather(found.failed))


def _machine(found: Findings, world: World) -> None:
    installed = {package.name: package.version for package in importlib.metadata.distributions()}
    versions = [f"{package} {installed.get(package, 'is not installed')}" for package in _PACKAGES]
    found.add("versions", ", ".join([f"python {platform.python_version()}", *versions]))
    if world.device.type == "cuda":
        gpu = torch.cuda.get_device_properties(world.device)
        found.add("device", f"{gpu.name}, {gpu.total_memory / _GIB:.0f} GiB")
    else:
        found.add(
            "device",
            f"CPU, {count_text(cores(), 'core')}; PyTorch sees no GPU, or the recipe asks for"
            " the CPU",
        )
    threads = set_threads("auto", world.device)
    usual = conv_timing.choose_convolutions(conv_timing.STANDARD, 1, threads)
    found.add("bf16", _compare_precisions(world, usual))
    with found.catching("ranks"):
        found.add("ranks", "1" if world.size == 1 else _communication(world))
    for what, folder in (("runs", Path("runs")), ("cache", cache_folder())):
        free = _free(folder) / _GIB
        found.add("disk", f"{free:.1f} GiB free for {what}", "ok" if free > 1 else "fails")


def _compare_precisions(world: World, convolutions: Sequence[Convolution]) -> str:
    """Describe how fast bf16 is on this machine, and what `precision: auto` means for these
    convolutions.
    """
    verdict = precision.judge_machine(world, convolutions)
    if world.device.type != "cuda" or not has_bf16(world.device):
        return f"precision=auto is {verdict.precision}{verdict.reason}"
    times = world.broadcast_from_rank0(lambda: conv_timing.measure(convolutions, world.device))
    measured = precision.describe_times(times, len(convolutions))
    return f"precision=auto is {verdict.precision}{verdict.reason}; {measured}"


def _describe_precision(parts: RunSetup) -> str:
    """Describe the choice of the recipe, and both precisions on its own convolutions."""
    compared = _compare_precisions(parts.world, parts.compared_convolutions())
    if parts.recipe.precision == "auto":
        return f"{parts.precision}; for a new run {compared}"
    return f"{parts.precision}, as the recipe states; {compared}"


def _communication(world: World) -> str:
    """Sums 64 MiB over the ranks; a wrong sum or a hang shows a broken network."""
    values = torch.ones(2**24, device=world.device)
    dist.all_reduce(values)  # the first one connects
    before = time.perf_counter()
    dist.all_reduce(values)
    total, seconds = values[0].item(), time.perf_counter() - before
    if total != world.size**2:
        raise ValueError(f"launch: a sum over {world.size} ranks is {total}: the network is broken")
    return f"{world.size} over {dist.get_backend()}, 64 MiB summed in {seconds * 1000:.0f} ms"


def _free(folder: Path) -> int:
    there = next(f for f in (folder.absolute(), *folder.absolute().parents) if f.exists())
    return shutil.disk_usage(there).free


def _speeds(found: Findings, parts: RunSetup) -> None:
    endless = parts.recipe.batch_size * 10**6
    workers = parts.data.workers(parts.threads)
    loader = _speed(parts, parts.data.loader(0, endless, workers).__next__)
    step = _step_speed(parts)
    found.add(
        "loader alone",
        f"{loader:,.1f} images/s with {count_text(workers, 'worker')} per rank",
    )
    found.add("step alone", f"{step:,.1f} images/s")
    ratio = loader / step
    if ratio < 1:
        advice = "more data.workers, or `gantrain prepare --resize`"
        found.add(
            "limit",
            f"the loader: it delivers {ratio:.2f} times the images of the step; {advice}",
            "note",
        )
    else:
        found.add("limit", f"the step: the loader delivers {ratio:.1f} times as many images")


def _verify(parts: RunSetup, shards: Shards) -> str:
    """Reads and decodes each sample on one rank; raises ValueError past the recipe's limit."""
    damaged = []
    for i in range(parts.world.rank, len(shards), parts.world.size):
        try:
            decode_sample(shards, i, shards.fields)
        except DamagedSample as e:
            damaged.append(str(e))
    damaged = [text for texts in parts.world.gather(damaged) for text in texts]
    text = f"{len(damaged)} of {len(shards):,} damaged" + "".join(f"; {d}" for d in damaged[:5])
    if len(damaged) > parts.recipe.data.max_bad_fraction * len(shards):
        raise ValueError(f"{text}; copy or prepare the data again")
    return text


def _step_speed(parts: RunSetup) -> float:
    """Of the real step on the first batch, over and over; its networks are thrown away."""
    engine, raw = parts.engine(), next(parts.data.loader(0, parts.recipe.batch_size, workers=0))
    rates = dict.fromkeys(parts.settings, 0.0)

    def step() -> None:
        engine.step(*parts.micro_batches(raw, 0), rates)
        engine.read_nonfinite()  # waits for the device

    return _speed(parts, step)


def _speed(parts: RunSetup, work: Callable[[], object]) -> float:
    """Images per second over all ranks, which do it equally often."""
    work()  # starts processes, compiles, allocates
    before, count = time.perf_counter(), 0
    while max(parts.world.gather(time.perf_counter() - before)) < _SECONDS:
        work()
        count += 1
    return count * parts.recipe.batch_size / (time.perf_counter() - before)

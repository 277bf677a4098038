"""The work of `gantrain doctor`: it finds what would stop a run, and what limits its speed."""

import importlib.metadata
import itertools
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
from gantrain.core.errors import RunStopped, UserError
from gantrain.core.threads import cores
from gantrain.core.world import World, has_bf16, set_threads
from gantrain.data.cache import cache_folder
from gantrain.data.decode import decode_sample
from gantrain.data.remote import FetchFailed
from gantrain.data.shards import DamagedSample, Shards
from gantrain.recipe import conv_timing, machine_precision
from gantrain.recipe.conv_timing import Convolution
from gantrain.recipe.schema import Recipe
from gantrain.runs import run_summary
from gantrain.runs.recipe_request import request_recipe
from gantrain.runs.run_folder import Run
from gantrain.runs.trackers import check_trackers
from gantrain.training.determinism import algorithms
from gantrain.training.launcher import agree_with_launcher, check_ranks, exit_with_parent
from gantrain.training.setup import RunSetup
from gantrain.training.trial import try_method

_PACKAGES = ("torch", "accelerate", "webdataset", "torchmetrics", "deepspeed")
_SECONDS = 5.0  # that the loader and the step are measured for
_MOST_DAMAGED = 5  # samples that a line names
_STYLES = {"ok": None, "note": "yellow", "fails": "bold red"}
_GIB = 2**30


class Findings:
    """Prints each finding in a line, on rank 0.

    failed: one of the findings would stop a run.
    """

    failed = False

    def add(self, name: str, text: str, state: str = "ok") -> None:
        self.failed |= state == "fails"
        if os.environ.get("RANK", "0") == "0":
            start = f"{name:>12}  {state:<5}  "
            say(start + text, _STYLES[state], indent=len(start))

    @contextmanager
    def catching(self, name: str) -> Iterator[None]:
        """Add what is raised inside as findings that would stop a run, one for each line."""
        try:
            yield
        except (ValueError, OSError) as e:
            for line in str(e).splitlines():
                self.add(name, line, "fails")
        except (FetchFailed, DamagedSample, torch.OutOfMemoryError) as e:
            text = str(e)
            if dist.is_initialized():  # the other ranks wait for this one
                raise RunStopped(f"{name}: {text}", only_this_rank=True) from None
            self.add(name, text, "fails")


def doctor(name: str | None, overrides: tuple[str, ...], verify: bool) -> bool:
    """Examine this machine, and a recipe on it; return whether the recipe would train.

    It works in one process, and in each process of a launcher. verify: read every sample.
    """
    findings = Findings()
    recipe: Recipe | None = None
    if name:
        with findings.catching("recipe"):
            recipe = agree_with_launcher(request_recipe(name, overrides))
            check_trackers(recipe)
            findings.add("recipe", f"{recipe.name}, {recipe.method['name']}")
    exit_with_parent()
    is_deterministic = recipe is not None and recipe.deterministic
    with algorithms(is_deterministic), World(recipe.device if recipe else "auto") as world:
        _examine_machine(findings, world)
        if recipe is None:
            _examine_usual_precision(findings, world)
        else:
            if world.is_main and recipe.folder.exists():
                _examine_run(findings, recipe)
            with findings.catching("data"):
                check_ranks(world, recipe)
                setup = RunSetup(recipe, world)
                _examine_data(findings, setup)
                if verify:
                    _examine_samples(findings, setup)
                with findings.catching("method"):
                    try_method(setup)
                    with findings.catching("speed"):
                        _examine_speed(findings, setup)
        return not any(world.gather(findings.failed))


def _examine_run(findings: Findings, recipe: Recipe) -> None:
    with findings.catching("run"):
        run = Run(recipe)
        findings.add("run", f"goes on from {run.latest() or 'its start'}", "note")
        run.close()


def _examine_data(findings: Findings, setup: RunSetup) -> None:
    recipe = setup.recipe
    findings.add("data", run_summary.describe_data(setup.data.train, recipe.data.train))
    findings.add("batch", f"{setup.data.split}, {setup.precision}")
    findings.add("precision", _describe_precision(setup))
    for line in setup.data.held_out_lines:
        findings.add("held out", line, "note")
    for line in setup.data_warnings:
        findings.add("size", line.removeprefix("warning: "), "note")
    for line in setup.size_notes:
        findings.add("size", line, "note")


def _examine_samples(findings: Findings, setup: RunSetup) -> None:
    sets = {
        "train": setup.data.train,
        "validation": setup.data.held_out,
        "test": setup.data.test,
    }
    for key, data in sets.items():
        if data is None:
            continue
        for shards in data.domains:
            with findings.catching("samples"):
                findings.add("samples", f"data.{key}: {_verify(setup, shards)}")


def _examine_machine(findings: Findings, world: World) -> None:
    installed = {package.name: package.version for package in importlib.metadata.distributions()}
    versions = [f"{package} {installed.get(package, 'is not installed')}" for package in _PACKAGES]
    findings.add("versions", ", ".join([f"python {platform.python_version()}", *versions]))
    if world.device.type == "cuda":
        gpu = torch.cuda.get_device_properties(world.device)
        findings.add("device", f"{gpu.name}, {gpu.total_memory / _GIB:.0f} GiB")
    else:
        findings.add(
            "device",
            f"CPU, {count_text(cores(), 'core')}; PyTorch sees no GPU, or the recipe asks for"
            " the CPU",
        )
    with findings.catching("ranks"):
        findings.add("ranks", "1" if world.size == 1 else _communication(world))
    for what, folder in (("runs", Path("runs")), ("cache", cache_folder())):
        free = _free(folder) / _GIB
        findings.add("disk", f"{free:.1f} GiB free for {what}", "ok" if free > 1 else "fails")


def _examine_usual_precision(findings: Findings, world: World) -> None:
    """Report bf16 on usual convolutions; a recipe is judged by its own ones instead."""
    threads = set_threads("auto", world.device)
    usual = conv_timing.choose_convolutions(conv_timing.STANDARD, 1, threads)
    findings.add("bf16", _compare_precisions(world, usual))


def _compare_precisions(world: World, convolutions: Sequence[Convolution]) -> str:
    """Describe how fast bf16 is on this machine for some convolutions.

    The text says what `precision: auto` means for them.
    """
    verdict = machine_precision.judge_machine(world, convolutions)
    if world.device.type != "cuda" or not has_bf16(world.device):
        return f"precision=auto is {verdict.precision}{verdict.reason}"
    times = world.broadcast_from_rank0(lambda: conv_timing.measure(convolutions, world.device))
    measured = machine_precision.describe_times(times, len(convolutions))
    return f"precision=auto is {verdict.precision}{verdict.reason}; {measured}"


def _describe_precision(setup: RunSetup) -> str:
    """Describe the choice of the recipe, and both precisions on its own convolutions."""
    compared = _compare_precisions(setup.world, setup.compared_convolutions())
    if setup.recipe.precision == "auto":
        return f"{setup.precision}; for a new run {compared}"
    return f"{setup.precision}, as the recipe states; {compared}"


def _communication(world: World) -> str:
    """Sum 64 MiB over the ranks, and describe the time; a wrong sum shows a broken network."""
    values = torch.ones(2**24, device=world.device)
    dist.all_reduce(values)  # the first one connects
    start = time.perf_counter()
    dist.all_reduce(values)
    total = values[0].item()  # waits for the device
    seconds = time.perf_counter() - start
    if total != world.size**2:
        raise UserError(f"launch: a sum over {world.size} ranks is {total}: the network is broken")
    return f"{world.size} over {dist.get_backend()}, 64 MiB summed in {seconds * 1000:.0f} ms"


def _free(folder: Path) -> int:
    """Return the free bytes on the disk of a folder, which need not exist."""
    path = folder.absolute()
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    return shutil.disk_usage(existing).free


def _examine_speed(findings: Findings, setup: RunSetup) -> None:
    endless = setup.recipe.batch_size * 10**6
    workers = setup.data.workers(setup.threads)
    loader = _speed(setup, setup.data.loader(0, endless, workers).__next__)
    step = _step_speed(setup)
    findings.add(
        "loader alone",
        f"{loader:,.1f} images/s with {count_text(workers, 'worker')} per rank",
    )
    findings.add("step alone", f"{step:,.1f} images/s")
    ratio = loader / step
    if ratio < 1:
        advice = "more data.workers, or `gantrain prepare --resize`"
        findings.add(
            "limit",
            f"the loader: it delivers {ratio:.2f} times the images of the step; {advice}",
            "note",
        )
    else:
        findings.add("limit", f"the step: the loader delivers {ratio:.1f} times as many images")


def _verify(setup: RunSetup, shards: Shards) -> str:
    """Read and decode all samples, each on one rank, and describe the damaged ones.

    Raises UserError where they are more than the recipe's limit.
    """
    damaged_here = []
    for index in range(setup.world.rank, len(shards), setup.world.size):
        try:
            decode_sample(shards, index, shards.fields)
        except DamagedSample as e:
            damaged_here.append(str(e))
    damaged = list(itertools.chain.from_iterable(setup.world.gather(damaged_here)))
    text = "; ".join([f"{len(damaged)} of {len(shards):,} damaged", *damaged[:_MOST_DAMAGED]])
    if len(damaged) > setup.recipe.data.max_bad_fraction * len(shards):
        raise UserError(f"{text}; copy or prepare the data again")
    return text


def _step_speed(setup: RunSetup) -> float:
    """Measure the real step on the first batch, again and again; its networks are thrown away."""
    engine = setup.engine()
    raw = next(setup.data.loader(0, setup.recipe.batch_size, workers=0))
    rates = dict.fromkeys(setup.settings, 0.0)

    def step() -> None:
        engine.step(*setup.micro_batches(raw, 0), rates)
        engine.read_nonfinite()  # waits for the device

    return _speed(setup, step)


def _speed(setup: RunSetup, work: Callable[[], object]) -> float:
    """Measure the images per second of all ranks, which do the work equally often."""
    work()  # starts processes, compiles, allocates
    count = 0
    start = time.perf_counter()
    while max(setup.world.gather(time.perf_counter() - start)) < _SECONDS:
        work()
        count += 1
    return count * setup.recipe.batch_size / (time.perf_counter() - start)

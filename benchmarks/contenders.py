"""The loops that `throughput.py` measures, in one process or as one rank of several.

`measured` returns a row of the table for each loop.
"""

import argparse
import itertools
import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import report
import torch
from convolutions import ConvolutionPasses, record_step
from measuring import PeakMemory, PhaseClock, checkpoint_seconds, data_wait, flops_per_image
from ratios import convolution_settings, settings_of

from gantrain.bench.bench_recipe import load_for_bench
from gantrain.bench.repeats import alternate, rounded, settle, spread
from gantrain.bench.training_loops import Plain, Trained, check_plain, cycle, float_batch
from gantrain.core.errors import UserError
from gantrain.core.world import World
from gantrain.recipe.schema import Recipe
from gantrain.training.setup import RunSetup

# A row's settings, in the table's order; other keys that --vary names follow.
SETTINGS = (
    "recipe",
    "loop",
    "devices",
    "device",
    "threads",
    "batch",
    "accumulation",
    "precision",
    "channels_last",
    "compile",
    "zero_stage",
)
_SHOWN = {"batch_size": "batch", "micro_batch_size": "accumulation"}  # as another column


@dataclass
class Contender:
    """A loop with its row of the table.

    `amount` is what one step of all ranks does: a number of images, or of TFLOP.
    """

    row: report.Row
    step: Callable[[], None]
    amount: float
    world: World
    steps: int
    rate: str = "images/s"
    clock: PhaseClock | None = None
    phases: dict[str, list[float]] = field(default_factory=dict)

    def warm_up(self) -> None:
        """Run the first steps, and time the very first one.

        The first step pays for compilation and for the choice of kernels, so it has a column of its
        own.
        """
        start = time.perf_counter()
        self.step()
        settle(self.world)
        self.row["first step s"] = round(time.perf_counter() - start, 2)
        self.step()  # compiled code may still specialise, and DDP sets up its buckets
        settle(self.world)
        if self.clock:
            self.clock.read(2)

    def per_second(self) -> float:
        settle(self.world)
        start = time.perf_counter()
        for _ in range(self.steps):
            self.step()
        settle(self.world)
        seconds = time.perf_counter() - start
        if self.clock:
            found = self.clock.read(self.steps)
            found["other"] = 1e3 * seconds / self.steps - sum(found.values())
            for name, milliseconds in found.items():
                self.phases.setdefault(f"{name} ms", []).append(milliseconds)
        return self.steps * self.amount / seconds


def load(settings: Sequence[str], changes: Sequence[str] = ()) -> Recipe:
    """Return the recipe of the settings. Its data are synthetic unless the settings name others."""
    words = [*settings, *changes]
    names = [w.removeprefix("recipe=") for w in words if w.startswith("recipe=")]
    if not names:
        raise ValueError("recipe: name one, such as recipe=facades")
    return load_for_bench(names[-1], [w for w in words if not w.startswith("recipe=")])


def variants(vary: Sequence[str]) -> list[list[str]]:
    """Return all combinations of `key=value,value`. Commas inside brackets belong to a value."""
    axes = []
    for text in vary:
        key, _, values = text.partition("=")
        if not values:
            raise ValueError(
                f"--vary: found {text}; give a recipe's key and values, such as precision=fp32,bf16"
            )
        axes.append([f"{key}={value}" for value in re.split(r",(?![^\[{]*[\]}])", values)])
    return [list(changes) for changes in itertools.product(*axes)]


class Contenders:
    """The contenders by the values of their rows. Each row has one contender."""

    def __init__(self, args: argparse.Namespace, world: World) -> None:
        self.args = args
        self.world = world
        self.by_row: dict[tuple[Any, ...], Contender] = {}

    def add(
        self,
        row: report.Row,
        make: Callable[[], Any],
        amount: float,
        steps: int,
        rate: str = "images/s",
    ) -> bool:
        """Make a contender and run its first steps, unless its row exists already.

        Returns whether the contender was made. Its memory is what its construction and its first
        steps allocate.
        """
        key = tuple(row.items())
        if key in self.by_row:
            return False
        memory = PeakMemory(self.world.device)
        step = make()
        clock = PhaseClock(step.engine) if isinstance(step, Trained) else None
        contender = Contender(row, step, amount, self.world, steps, rate=rate, clock=clock)
        self.by_row[key] = contender
        contender.warm_up()
        peaks = self.world.gather(memory.gib())
        if rate == "images/s" and None not in peaks:
            row["GiB"] = round(max(peaks), 3)
        if isinstance(step, Trained) and row["loop"] == "gantrain":
            row["checkpoint s"] = round(checkpoint_seconds(step), 2)
        return True

    def add_convolutions(self, setup: RunSetup, row: report.Row, plain_images: int = 0) -> None:
        """Add the convolutions of a loop's step in isolation, which are the peak of its row.

        plain_images: the batch of the plain loop, whose row it then is.
        """
        peak_row = convolution_settings(row)
        if tuple(peak_row.items()) in self.by_row:
            return
        passes = ConvolutionPasses(
            record_step(setup, plain_images),
            row["precision"],
            row["channels_last"],
            self.world.device,
        )
        amount = passes.tflop * self.world.size
        self.add(peak_row, partial(returned, passes), amount, self.args.steps, rate="TFLOP/s")

    def add_loops(self, setup: RunSetup, is_first: bool) -> None:
        """Add the loops of one variant.

        is_first: of several ranks' variants, only the first one is also run without exchange.
        """
        batch = setup.data.split.batch_size
        steps = math.ceil(self.args.steps / cycle(setup)) * cycle(setup)
        row = as_row(setup, self.args.vary)
        if self.add(row, partial(Trained, setup), batch, steps):
            row["GFLOP/image"] = rounded(flops_per_image(setup) / 1e9)
            self.add_convolutions(setup, row)
        if self.world.size > 1 and is_first:
            alone = {**settings_of(row), "loop": "no exchange"}
            self.add(alone, partial(Trained, setup, exchange=False), batch, steps)
        # Research code is one process; on more devices it has nothing to compare.
        if self.args.baseline and self.world.size == 1:
            check_baseline(setup)
            for images in dict.fromkeys((batch, 1)):
                self.add_plain(setup, row, images, steps)

    def add_plain(self, setup: RunSetup, row: report.Row, images: int, steps: int) -> None:
        plain_row = settings_of(row) | {
            "loop": "plain",
            "batch": images,
            "precision": "fp32",
            "channels_last": False,
            "compile": False,
            "accumulation": 1,
        }
        if self.add(plain_row, partial(plain_step, setup, images), images, steps):
            plain_row["GFLOP/image"] = rounded(flops_per_image(setup, plain=True) / 1e9)
            self.add_convolutions(setup, plain_row, images)


def variant_setups(args: argparse.Namespace, world: World) -> list[RunSetup]:
    """Return the setup of each variant that works here, and report the other variants.

    ZeRO on one process does not work, nor does a batch that the ranks cannot share. Raises
    ValueError if no variant works.
    """
    setups: list[RunSetup] = []
    refused = ""
    for changes in variants(args.vary):
        batch = [f"batch_size={args.per_device * world.size}"] if args.per_device else []
        try:
            setups.append(RunSetup(load(args.settings, [*changes, *batch]), world))
        except ValueError as e:
            refused = str(e)
            if args.vary:
                world.say(f"left out, {world.size} devices, {' '.join(changes)}: {refused}")
    if not setups:
        raise ValueError(refused)
    return setups


def gathered(args: argparse.Namespace, world: World) -> tuple[list[Contender], dict[str, Any]]:
    """Return the contenders, and the recipes by name.

    The contenders are gantrain in each variant, gantrain without the exchange of gradients, the
    plain loop, and the convolutions of each of them in isolation.
    """
    setups = variant_setups(args, world)
    if any(setup.recipe.compile for setup in setups):
        # Dynamo counts the graphs of all networks of a class together, over all contenders.
        torch._dynamo.config.recompile_limit = 8 * len(setups)
    contenders = Contenders(args, world)
    resolved: dict[str, Any] = {}
    for setup in setups:
        resolved.setdefault(setup.recipe.name, setup.recipe.dump())
        contenders.add_loops(setup, is_first=setup is setups[0])
    return list(contenders.by_row.values()), resolved


def returned(step: Callable[[], None]) -> Callable[[], None]:
    return step


def check_baseline(setup: RunSetup) -> None:
    """Raise UserError where the plain loop does not train the recipe."""
    try:
        check_plain(setup)
    except UserError as e:
        raise UserError(f"--baseline: {e}") from None


def plain_step(setup: RunSetup, images: int) -> Callable[[], None]:
    return Plain(setup).on(float_batch(setup, images))


def as_row(setup: RunSetup, vary: Sequence[str]) -> report.Row:
    recipe, world = setup.recipe, setup.world
    values = (
        recipe.name,
        "gantrain",
        world.size,
        world.device.type,
        setup.threads,
        setup.data.split.batch_size,
        setup.data.split.accumulation,
        setup.precision,
        setup.channels_last,
        recipe.compile,
        recipe.zero_stage,
    )
    row = dict(zip(SETTINGS, values, strict=True))
    for text in vary:
        key = text.partition("=")[0]
        if _SHOWN.get(key, key) not in row:
            value: Any = recipe.dump()
            for part in key.split("."):
                value = value[part]
            row[key] = str(value)
    return row


def measured(args: argparse.Namespace, world: World) -> tuple[list[report.Row], dict[str, Any]]:
    """Return the contenders' rows and the recipes, on this rank."""
    loops, resolved = gathered(args, world)
    rates = alternate({i: loop.per_second for i, loop in enumerate(loops)}, args.repeats)
    for i, loop in enumerate(loops):
        loop.row[loop.rate] = rates[i]
        loop.row |= {name: spread(found) for name, found in loop.phases.items()}
        if isinstance(loop.step, Trained):
            if loop.step.engine.read_nonfinite()[0]:
                raise ValueError("gradients were not finite, so steps were left out; lower the lr")
            if loop.row["loop"] == "gantrain":
                loop.row["data wait"] = round(data_wait(loop.step, loop.steps), 3)
    return [loop.row for loop in loops], resolved

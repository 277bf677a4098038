"""Who takes part in `throughput.py`, in one process or as one rank of several, and what is found
of each.
"""

import argparse
import itertools
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import report
import torch
from loops import Plain, Trained, float_batch
from measuring import (
    PeakMemory,
    PhaseClock,
    checkpoint_seconds,
    cycle,
    data_wait,
    flops_per_image,
    matmul,
    settle,
)
from ratios import settings_of

from gantrain.core.world import World
from gantrain.recipe import schema as recipes
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
    """A loop with its row of the table; `amount` is what a step does over all ranks: images, or
    TFLOP.
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
        """The first step pays for compilation and the choice of kernels, so it is told apart."""
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


def load(settings: Sequence[str], changes: Sequence[str] = ()) -> recipes.Recipe:
    """With drawn data, unless the settings name others."""
    words = [*settings, *changes]
    names = [w.removeprefix("recipe=") for w in words if w.startswith("recipe=")]
    if not names:
        raise ValueError("recipe: name one, such as recipe=facades")
    drawn = [] if any(re.match(r"data(\.train)?=", w) for w in words) else ["data=synthetic"]
    return recipes.load(names[-1], [*(w for w in words if not w.startswith("recipe=")), *drawn])


def variants(vary: Sequence[str]) -> list[list[str]]:
    """All combinations of `key=value,value`; commas inside brackets belong to a value."""
    axes = []
    for text in vary:
        key, _, values = text.partition("=")
        if not values:
            raise ValueError(
                f"--vary: found {text}; give a recipe's key and values, such as precision=fp32,bf16"
            )
        axes.append([f"{key}={value}" for value in re.split(r",(?![^\[{]*[\]}])", values)])
    return [list(changes) for changes in itertools.product(*axes)]


def gathered(args: argparse.Namespace, world: World) -> tuple[list[Contender], dict[str, Any]]:
    """gantrain in each variant, without exchange, the plain loop, the matrix products; and the
    recipes.

    A variant that can't be here (ZeRO on one process, a batch that the ranks can't share) is left
    out and told."""
    found: dict[tuple[Any, ...], Contender] = {}
    resolved: dict[str, Any] = {}
    assembled: list[RunSetup] = []

    def add(
        row: report.Row, make: Callable[[], Any], amount: float, steps: int, **more: Any
    ) -> bool:
        """Whether it wasn't there already; its memory is what comes with it and its first steps."""
        if (key := tuple(row.items())) in found:
            return False
        memory = PeakMemory(world.device)
        step = make()
        clock = PhaseClock(step.engine) if isinstance(step, Trained) else None
        found[key] = contender = Contender(row, step, amount, world, steps, clock=clock, **more)
        contender.warm_up()
        peaks = world.gather(memory.gib())
        if more.get("rate") is None and None not in peaks:
            row["GiB"] = round(max(peaks), 3)
        if isinstance(step, Trained) and row["loop"] == "gantrain":
            row["checkpoint s"] = round(checkpoint_seconds(step), 2)
        return True

    refused = ""
    for changes in variants(args.vary):
        batch = [f"batch_size={args.per_device * world.size}"] if args.per_device else []
        try:
            assembled.append(RunSetup(load(args.settings, [*changes, *batch]), world))
        except ValueError as e:
            refused = str(e)
            if args.vary:
                world.say(f"left out, {world.size} devices, {' '.join(changes)}: {refused}")
    if not assembled:
        raise ValueError(refused)
    if any(setup.recipe.compile for setup in assembled):
        # Dynamo counts the graphs of all networks of a class together, over all contenders.
        torch._dynamo.config.recompile_limit = 8 * len(assembled)
    for precision in dict.fromkeys(
        ["fp32"] * bool(args.baseline) + [setup.precision for setup in assembled]
    ):
        row = {
            "loop": "matmul",
            "devices": world.size,
            "device": world.device.type,
            "threads": assembled[0].threads,
        }
        product, tflop, calls = matmul(world, precision)
        add(
            {**row, "precision": precision},
            partial(returned, product),
            tflop * world.size,
            calls,
            rate="TFLOP/s",
        )
    for setup in assembled:
        resolved.setdefault(setup.recipe.name, setup.recipe.dump())
        batch, steps = setup.data.split.batch_size, -(-args.steps // cycle(setup)) * cycle(setup)
        row = as_row(setup, args.vary)
        if add(row, partial(Trained, setup), batch, steps):
            row["GFLOP/image"] = report.rounded(flops_per_image(setup) / 1e9)
        if world.size > 1 and setup is assembled[0]:
            add(
                {**settings_of(row), "loop": "no exchange"},
                partial(Trained, setup, exchange=False),
                batch,
                steps,
            )
        # Research code is one process; on more devices it has nothing to compare.
        for images in dict.fromkeys((batch, 1)) if args.baseline and world.size == 1 else ():
            as_it_is = {
                "precision": "fp32",
                "channels_last": False,
                "compile": False,
                "accumulation": 1,
            }
            other = {**settings_of(row), "loop": "plain", "batch": images, **as_it_is}
            if add(other, partial(plain_step, setup, images), images, steps):
                other["GFLOP/image"] = report.rounded(flops_per_image(setup, plain=True) / 1e9)
    return [*found.values()], resolved


def returned(step: Callable[[], None]) -> Callable[[], None]:
    return step


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
    """The contenders' rows and the recipes, on this rank of however many there are."""
    loops, resolved = gathered(args, world)
    rates = report.alternate({i: loop.per_second for i, loop in enumerate(loops)}, args.repeats)
    for i, loop in enumerate(loops):
        loop.row[loop.rate] = rates[i]
        loop.row |= {name: report.spread(found) for name, found in loop.phases.items()}
        if isinstance(loop.step, Trained):
            if loop.step.engine.read_nonfinite()[0]:
                raise ValueError("gradients were not finite, so steps were left out; lower the lr")
            if loop.row["loop"] == "gantrain":
                loop.row["data wait"] = round(data_wait(loop.step, loop.steps), 3)
    return [loop.row for loop in loops], resolved

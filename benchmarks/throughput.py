"""Images per second of the training step, data already in memory.

    python benchmarks/throughput.py recipe=facades --baseline plain --grid
    python benchmarks/throughput.py recipe=facades --devices 1,2
    python benchmarks/throughput.py recipe=facades threads=1 --devices 1,2 --per-device 4

The recipe is read as `gantrain train` reads it, with data=synthetic. A step starts where the loader
ends: with uint8 images in host memory. It includes all that a training step does: normalising, EMA,
meters, the guard against non-finite gradients. `loops.py` says what the baseline is.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import report
import torch
from loops import Plain, Trained, float_batch

from gantrain import checkpoint
from gantrain import recipe as recipes
from gantrain.assembly import Assembly, assemble
from gantrain.console import complain
from gantrain.launcher import die_with_launcher
from gantrain.saving import snapshot
from gantrain.world import World

GRID = [
    [f"precision={precision}", f"channels_last={layout}"]
    for precision in ("fp32", "bf16")
    for layout in ("true", "false")
]


@dataclass
class Contender:
    """A loop with its row of the table; `images` are those of a step over all ranks."""

    row: report.Row
    step: Callable[[], None]
    images: int
    world: World = field(repr=False)

    def warm_up(self) -> None:
        """The first step pays for compilation and the choice of kernels, so it is told apart."""
        start = time.perf_counter()
        self.step()
        self._settle()
        self.row["first step s"] = round(time.perf_counter() - start, 2)
        self.step()  # compiled code may still specialise, and DDP sets up its buckets

    def images_per_second(self, steps: int) -> float:
        self._settle()
        start = time.perf_counter()
        for _ in range(steps):
            self.step()
        self._settle()
        return steps * self.images / (time.perf_counter() - start)

    def _settle(self) -> None:
        if self.world.device.type == "cuda":
            torch.cuda.synchronize()
        self.world.accelerator.wait_for_everyone()


def contenders(args: argparse.Namespace, world: World) -> tuple[list[Contender], Assembly]:
    """gantrain as the recipe says, then with the grid's settings, then plain; the first's parts."""
    found: dict[tuple[str, bool], Contender] = {}
    base: Assembly | None = None
    for changes in [[], *(GRID if args.grid else [])]:
        parts = assemble(load(args.settings, changes), world)
        base = base or parts
        key = (parts.precision, parts.channels_last)
        if key not in found:
            step, batch = Trained(parts), parts.split.batch_size
            row = _row("gantrain", parts, batch, parts.precision, parts.channels_last)
            row["checkpoint s"] = round(_checkpoint_seconds(step), 2)
            found[key] = Contender(row, step, batch, world)
    assert base is not None
    result = [*found.values()]
    if world.size > 1:
        batch = base.split.batch_size
        row = _row("no exchange", base, batch, base.precision, base.channels_last)
        result.append(Contender(row, Trained(base, exchange=False), batch, world))
    # Research code is one process; on more devices it has nothing to compare.
    if args.baseline and world.size == 1:
        plain = Plain(base)
        for images in dict.fromkeys((base.split.batch_size, 1)):
            row = _row("plain", base, images, "fp32", False)
            result.append(Contender(row, plain.on(float_batch(base, images)), images, world))
    return result, base


def _checkpoint_seconds(trained: Trained) -> float:
    """Of a snapshot on all ranks and rank 0's writing of it, which the step waits for."""
    trained()  # the optimisers have a state from their first step on
    parts = trained.parts
    with tempfile.TemporaryDirectory() as folder:
        parts.world.accelerator.wait_for_everyone()
        start = time.perf_counter()
        tensors = snapshot(trained.engine, parts.world)
        if parts.world.is_main:
            checkpoint.save(Path(folder), parts.recipe.yaml(), tensors, {"images_seen": 0})
        parts.world.accelerator.wait_for_everyone()
        return time.perf_counter() - start


def _row(loop: str, parts: Assembly, batch: int, precision: str, channels_last: bool) -> report.Row:
    world = parts.world
    return {
        "loop": loop, "devices": world.size, "device": world.device.type, "threads": parts.threads,
        "batch": batch, "precision": precision, "channels_last": channels_last,
        "compile": parts.recipe.compile and loop == "gantrain",
    }  # fmt: skip


def load(settings: list[str], changes: list[str]) -> recipes.Recipe:
    names = [s.removeprefix("recipe=") for s in settings if s.startswith("recipe=")]
    if len(names) != 1:
        raise ValueError("recipe: name one, such as recipe=facades")
    others = [s for s in settings if not s.startswith("recipe=")]
    return recipes.load(names[0], [*others, *changes, "data=synthetic"])


def measure(args: argparse.Namespace) -> tuple[list[report.Row], dict[str, Any]]:
    """In this process, one rank of however many there are."""
    die_with_launcher()
    world = World(load(args.settings, []).device, [], ".")
    try:
        return timed(args, world)
    finally:
        world.close()


def timed(args: argparse.Namespace, world: World) -> tuple[list[report.Row], dict[str, Any]]:
    loops, parts = contenders(args, world)
    if parts.recipe.compile:
        # Dynamo counts the graphs of all networks of a class together, over all contenders.
        torch._dynamo.config.recompile_limit = 8 * len(loops)
    for loop in loops:
        loop.warm_up()
    by_number = {i: partial(loop.images_per_second, args.steps) for i, loop in enumerate(loops)}
    rates = report.alternate(by_number, args.repeats)
    for i, loop in enumerate(loops):
        loop.row["images/s"] = rates[i]
        if isinstance(loop.step, Trained) and loop.step.engine.read_nonfinite()[0]:
            raise ValueError("gradients were not finite, so steps were left out; lower the lr")
    return [loop.row for loop in loops], parts.recipe.dump()


def launch(args: argparse.Namespace, devices: int) -> tuple[list[report.Row], dict[str, Any]]:
    """The same under torchrun, with as many processes as devices."""
    gpus = torch.cuda.device_count()
    if gpus and devices > gpus and "device=cpu" not in args.settings:
        raise ValueError(f"--devices: found {devices}, there are {gpus} GPUs; or give device=cpu")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.json"
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += [f"--nproc-per-node={devices}", __file__, *args.settings, f"--rows={file}"]
        command += [f"batch_size={args.per_device * devices}"] * bool(args.per_device)
        command += [f"--repeats={args.repeats}", f"--steps={args.steps}"]
        command += ["--grid"] * args.grid + [f"--baseline={args.baseline}"] * bool(args.baseline)
        subprocess.run(command, check=True)
        rows, recipe = json.loads(file.read_text(encoding="utf-8"))
    return rows, recipe


def compare(rows: list[report.Row]) -> None:
    """To the plain loop with the same batch and with its own, 1; to the fewest devices."""
    batch = rows[0]["batch"]
    plain = {row["batch"]: row["images/s"] for row in rows if row["loop"] == "plain"}
    alone = {row["devices"]: row["images/s"] for row in rows if row["loop"] == "no exchange"}
    settings = ("loop", "precision", "channels_last")
    for row in (row for row in rows if row["loop"] == "gantrain"):
        if row["devices"] in alone:
            row["exchange"] = round(1 - report.ratio(row["images/s"], alone[row["devices"]]), 3)
        if plain:
            row["x plain"] = report.ratio(row["images/s"], plain[batch])
            row["x plain at 1"] = report.ratio(row["images/s"], plain[1])
        fewest = next(r for r in rows if all(r[s] == row[s] for s in settings))
        if fewest is not row:
            times = report.ratio(row["images/s"], fewest["images/s"])
            row[f"x {fewest['devices']} device"] = times
            row["efficiency"] = round(times * fewest["devices"] / row["devices"], 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings", nargs="+", help="recipe=NAME a.b=c, as for `gantrain train`")
    parser.add_argument("--devices", help="such as 1,2: GPUs, or processes that share the cores")
    parser.add_argument("--per-device", type=int, help="images: weak scaling instead of strong")
    parser.add_argument("--baseline", choices=["plain"], help="also a plain loop, in the same run")
    parser.add_argument("--grid", action="store_true", help="also fp32/bf16 x channels_last or not")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5, help="in each repeat")
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)  # of a rank under `launch`
    args = parser.parse_intermixed_args()
    try:
        load(args.settings, [])  # a mistake is told here, without a launcher's text around it
        if args.devices is None:
            rows, recipe = measure(args)
        else:
            parts = [launch(args, int(n)) for n in args.devices.split(",")]
            rows, recipe = [row for rows, _ in parts for row in rows], parts[0][1]
    except ValueError as e:
        if os.environ.get("RANK", "0") == "0":
            complain(f"throughput: {e}")
        sys.exit(2)
    except subprocess.CalledProcessError as e:
        sys.exit(e.returncode)  # the ranks have said why
    if os.environ.get("RANK", "0") != "0":
        return
    if args.rows is not None:
        args.rows.write_text(json.dumps([rows, recipe]), encoding="utf-8")
        return
    compare(rows)
    report.conclude("throughput", args.out, rows, steps=args.steps, recipe=recipe)


if __name__ == "__main__":
    main()

r"""Measures images per second of the training step, with the data already in memory.

    python benchmarks/throughput.py recipe=facades --baseline plain --grid
    python benchmarks/throughput.py recipe=facades --devices 1,2,4,8 --vary zero_stage=0,1 \
        --batch-sizes 8,16
    python benchmarks/throughput.py recipe=facades threads=1 --devices 1,2 --per-device 4

It reads the recipe as `gantrain train` does, with synthetic data unless the settings name other
data. A step starts where the loader ends: with uint8 images in host memory. It includes everything
that a training step does: normalising, EMA, meters, and the guard against non-finite gradients.
`gantrain/bench/training_loops.py` describes the baseline, and `measuring.py` describes each number.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import plots
import report
import torch
from contenders import load, measured, variants
from ratios import across, within

from gantrain.core.console import complain
from gantrain.core.world import World
from gantrain.training.determinism import algorithms
from gantrain.training.launcher import exit_with_parent

GRID = ["precision=fp32,bf16", "channels_last=true,false"]
Found = tuple[list[report.Row], dict[str, Any]]


def measure(args: argparse.Namespace) -> Found:
    """Measure in this process, as one rank."""
    exit_with_parent()
    recipe = load(args.settings, variants(args.vary)[0])
    with algorithms(recipe.deterministic), World(recipe.device) as world:
        rows, resolved = measured(args, world)
        return within(rows), resolved


def launch(args: argparse.Namespace, devices: int) -> Found:
    """Measure under torchrun, with as many processes as devices."""
    gpus = torch.cuda.device_count()
    if gpus and devices > gpus and "device=cpu" not in args.settings:
        raise ValueError(f"--devices: found {devices}, there are {gpus} GPUs; or give device=cpu")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.json"
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += [f"--nproc-per-node={devices}", __file__, *args.settings, f"--rows={file}"]
        command += [f"--vary={text}" for text in args.vary]
        command += [f"--repeats={args.repeats}", f"--steps={args.steps}"]
        command += [f"--per-device={args.per_device}"] * bool(args.per_device)
        command += [f"--baseline={args.baseline}"] * bool(args.baseline)
        subprocess.run(command, check=True)
        return read(file)


def read(file: Path) -> Found:
    """Return the content of a file that `--rows` wrote."""
    rows, resolved = json.loads(file.read_text(encoding="utf-8"))
    return rows, resolved


def joined(parts: list[Found]) -> Found:
    return [row for rows, _ in parts for row in rows], {
        n: r for _, resolved in parts for n, r in resolved.items()
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings", nargs="*", help="recipe=NAME a.b=c, as for `gantrain train`")
    parser.add_argument(
        "--devices",
        type=report.positives,
        help="such as 1,2,4,8: GPUs, or processes that share the cores",
    )
    parser.add_argument("--per-device", type=int, help="images: weak scaling instead of strong")
    parser.add_argument("--baseline", choices=["plain"], help="also a plain loop, in the same run")
    parser.add_argument(
        "--vary",
        action="append",
        default=[],
        help="KEY=A,B of the recipe; several: all combinations",
    )
    parser.add_argument("--batch-sizes", help="such as 1,4,16: short for --vary batch_size=1,4,16")
    parser.add_argument(
        "--grid", action="store_true", help=f"short for --vary {' --vary '.join(GRID)}"
    )
    parser.add_argument("--repeats", type=report.positive, default=5)
    parser.add_argument("--steps", type=report.positive, default=5, help="in each repeat")
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    parser.add_argument("--note", default="", help="is kept with the result")
    parser.add_argument(
        "--rows", type=Path, help="only write what was found into this file, for --join"
    )
    parser.add_argument(
        "--join", type=Path, nargs="+", help="files of --rows, as one result; measures nothing"
    )
    args = parser.parse_intermixed_args()
    args.vary += [f"batch_size={args.batch_sizes}"] * bool(args.batch_sizes) + GRID * args.grid
    if any(text.startswith("deterministic=") for text in args.vary):
        parser.error("--vary: deterministic holds for a whole process; give deterministic=true")
    if args.per_device and any(text.startswith("batch_size=") for text in args.vary):
        parser.error("--per-device sets the batch: leave out --batch-sizes")
    return args


def found(args: argparse.Namespace) -> Found:
    if args.join:
        return joined([read(file) for file in args.join])
    for changes in variants(
        args.vary
    ):  # A mistake is reported here, without the text of a launcher.
        load(args.settings, changes)
    if args.devices is None:
        return measure(args)
    return joined([launch(args, n) for n in args.devices])


def main() -> None:
    args = arguments()
    try:
        rows, resolved = found(args)
    except ValueError as e:
        if os.environ.get("RANK", "0") == "0":
            complain(f"throughput: {e}")
        sys.exit(2)
    except subprocess.CalledProcessError as e:
        sys.exit(e.returncode)  # The ranks have reported the reason.
    if os.environ.get("RANK", "0") != "0":
        return
    if args.rows is not None:
        args.rows.write_text(json.dumps([rows, resolved]), encoding="utf-8")
        return
    across(rows, weak=bool(args.per_device))
    more = {"note": args.note, "steps": args.steps, "recipes": resolved}
    report.conclude("throughput", args.out, rows, plots.throughput, **more)


if __name__ == "__main__":
    main()

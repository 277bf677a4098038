r"""Measures how good a model is after a number of images and after a time, by number of devices.

    python benchmarks/fid.py recipe=facades --devices 1,2,4,8
    python benchmarks/fid.py recipe=facades --devices 1,2 --metric fd_squeezenet \
        --weights squeezenet=FILE

It trains the recipe for its `length` with each number of devices and each seed, at the same batch
size, and measures the held-out images at `--points` marks. Over images, the curves should agree as
well as those of different seeds. Over time, they should move to the left. The name of the metric
heads the table: only `fid` is FID.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import plots
import report
import torch

from gantrain.bench.repeats import rounded
from gantrain.core.console import complain
from gantrain.recipe import schema as recipes
from gantrain.runs.metric_rows import read_rows


def train(
    args: argparse.Namespace, settings: list[str], devices: int, seed: int, every: int
) -> list[report.Row]:
    """Train one run, and return a row for each mark.

    The time is that of training alone, without start, evaluation and checkpoints.
    """
    run = Path("runs", f"fid-{os.getpid()}")  # here, where the recipe's paths begin
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={devices}",
    ]
    command += [
        "-m",
        "gantrain.train",
        *settings,
        f"seed={seed}",
        f"run={run.name}",
        f"log_every={every}",
    ]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            print(done.stdout[-2000:], file=sys.stderr)
            raise subprocess.CalledProcessError(done.returncode, command)
        logged, problems = read_rows(run / "metrics.jsonl")
    finally:
        shutil.rmtree(run, ignore_errors=True)
    rows: dict[int, report.Row] = {}
    seconds, seen = 0.0, 0
    for problem in problems:
        print(problem, file=sys.stderr)
    for found in (row.values for row in logged):
        images = found["images_seen"]
        if "images_per_second" in found:
            seconds, seen = seconds + (images - seen) / found["images_per_second"], images
        row = rows.setdefault(images, {"devices": devices, "seed": seed, "images": images})
        row["train_seconds"] = rounded(seconds)
        for name in (args.metric, f"{args.metric}_null"):
            if f"val_{name}" in found:
                row[name] = rounded(found[f"val_{name}"])
    return [row for row in rows.values() if args.metric in row]


def summary(rows: list[report.Row], metric: str) -> list[report.Row]:
    """Return the rows averaged over the seeds.

    `from one device` is the distance of the mean to the mean of the fewest devices, in standard
    deviations of one seed. The deviation is pooled over the numbers of devices at that mark. A
    distance below 2 can be chance.
    """
    marks: dict[tuple[int, int], list[report.Row]] = {}
    for row in rows:
        marks.setdefault((row["images"], row["devices"]), []).append(row)
    fewest = min(devices for _, devices in marks)
    table = []
    for (images, devices), found in sorted(marks.items()):
        values = [row[metric] for row in found]
        here = [[r[metric] for r in rs] for (i, _), rs in marks.items() if i == images]
        pooled = [statistics.variance(v) for v in here if len(v) > 1]
        row = {"images": images, "devices": devices, metric: statistics.mean(values)}
        row |= {
            "lowest": min(values),
            "highest": max(values),
            "null": found[0].get(f"{metric}_null"),
        }
        row["train_seconds"] = statistics.median(r["train_seconds"] for r in found)
        if pooled and devices != fewest and (spread := statistics.mean(pooled) ** 0.5):
            reference = statistics.mean(r[metric] for r in marks[images, fewest])
            row["from one device"] = abs(row[metric] - reference) / spread
        table.append(row)
    return table


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings", nargs="+", help="recipe=NAME a.b=c, as for `gantrain train`")
    parser.add_argument(
        "--devices",
        default="1",
        type=report.positives,
        help="such as 1,2,4,8: GPUs, or processes that share the cores",
    )
    parser.add_argument("--seeds", default="0,1", type=report.counts, help="of the runs")
    parser.add_argument(
        "--points", type=report.positive, default=4, help="marks, evenly over the run's length"
    )
    parser.add_argument(
        "--metric", default="fid", help="any of evaluate.metrics, such as kid, fd_random0"
    )
    parser.add_argument("--weights", help="NETWORK=FILE, where the network's own can't be fetched")
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    parser.add_argument("--note", default="", help="is kept with the result")
    return parser.parse_args()


def checked(args: argparse.Namespace) -> tuple[list[str], dict[str, Any], int]:
    """Return the words of the runs, the resolved recipe and the images between marks.

    Raises ValueError for settings that cannot be measured.
    """
    names = [word.removeprefix("recipe=") for word in args.settings if word.startswith("recipe=")]
    if len(names) != 1:
        raise ValueError("recipe: name one, such as recipe=facades")
    if args.weights and "=" not in args.weights:
        raise ValueError(f"--weights: found {args.weights!r}, allowed: NETWORK=FILE")
    weights = dict([args.weights.split("=", 1)]) if args.weights else {}
    words = [word for word in args.settings if not word.startswith("recipe=")]
    words += [f"evaluate.metrics=[{args.metric}]", f"evaluate.best_by={args.metric}", "trackers=[]"]
    words += [
        f"evaluate.weights={json.dumps({n: os.path.abspath(f) for n, f in weights.items()})}"
    ] * bool(weights)
    words += ["checkpoint.best=0", "checkpoint.keep=1", "previews.every=1000000000"]
    loaded = recipes.load(names[0], words)
    batch, length = loaded.batch_size, loaded.length
    if not isinstance(length, int):
        raise ValueError(
            f"length: found {length!r}, which depends on the data; give images, such as"
            " length=14000"
        )
    gpus = torch.cuda.device_count()
    if gpus and loaded.device != "cpu" and max(args.devices) > gpus:
        raise ValueError(
            f"--devices: found {max(args.devices)}, there are {gpus} GPUs; or give device=cpu"
        )
    every = max(batch, length // args.points // batch * batch)
    words += [
        f"length={every * args.points}",
        f"evaluate.every={every}",
        f"checkpoint.every={every * args.points}",
    ]
    if every * args.points != length:
        print(
            f"{every * args.points} images instead of {length}: marks in whole batches",
            file=sys.stderr,
        )
    return [f"recipe={names[0]}", *words], recipes.load(names[0], words).dump(), every


def main() -> None:
    args, rows = arguments(), []
    try:
        settings, resolved, every = checked(args)
        for seed in args.seeds:
            for devices in args.devices:
                print(f"seed {seed}, {devices} devices", file=sys.stderr, flush=True)
                rows += train(args, settings, devices, seed, every)
    except ValueError as e:
        complain(f"fid: {e}")
        sys.exit(2)
    except subprocess.CalledProcessError as e:
        sys.exit(e.returncode)  # The run has reported the reason.
    name = args.metric if args.metric == "fid" else f"fid-{args.metric}"
    more = {
        "note": args.note,
        "metric": args.metric,
        "recipes": {resolved["name"]: resolved},
        "runs": rows,
    }
    report.conclude(
        name, args.out, summary(rows, args.metric), plots.quality(rows, args.metric), **more
    )


if __name__ == "__main__":
    main()

"""Compares the quality that variants of one recipe reach after the same number of images.

    python benchmarks/variants.py recipe=facades length=7000 \\
        'evaluate.metrics=[l1,swd]' evaluate.best_by=l1 \\
        --variant transpose --variant 'nearest method.generator.upsample=nearest' --seeds 0,1

A variant is a name and the keys in which it differs. Each variant trains once a seed, in
`runs/NAME-sSEED` of the working directory. The runs stay, so that their previews can be looked at,
and the same command goes on where it was stopped. The held-out metrics come from the runs' own
`metrics.jsonl`. """

import argparse
import statistics
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import plots
import report

from gantrain.bench.repeats import rounded
from gantrain.core.console import complain
from gantrain.recipe import schema as recipes
from gantrain.runs.metric_rows import read_rows

PREFIX = "val_"


class Variant(NamedTuple):
    """One contender: its name and the overrides that make it."""

    name: str
    overrides: list[str]


def parse_variant(text: str) -> Variant:
    """Parse `NAME [a.b=c ...]`, an argument on the command line, as a variant."""
    name, *overrides = text.split() or [""]
    if not name or "=" in name:
        raise argparse.ArgumentTypeError(f"found {text!r}, allowed: NAME a.b=c ..., the name first")
    return Variant(name, overrides)


def train(settings: list[str], variant: Variant, seed: int) -> Path:
    """Train a variant, or continue its run. Returns the run's folder."""
    run = f"{variant.name}-s{seed}"
    words = [*settings, *variant.overrides, f"seed={seed}", f"run={run}"]
    command = [sys.executable, "-m", "gantrain", "train", *words]
    print(" ".join(words), file=sys.stderr, flush=True)
    subprocess.run(command, stdout=sys.stderr, check=True)
    return Path("runs", run)


def read_marks(run: Path, variant: str, seed: int) -> list[report.Row]:
    """Return a row for each evaluation of a run, with the metrics' own names."""
    rows, problems = read_rows(run / "metrics.jsonl")
    for problem in problems:
        print(problem, file=sys.stderr)
    marks: list[report.Row] = []
    for row in rows:
        metrics = {}
        for key, value in row.values.items():
            if key.startswith(PREFIX) and value is not None:
                metrics[key.removeprefix(PREFIX)] = rounded(value)
        if metrics:
            marks.append(
                {"variant": variant, "seed": seed, "images": row.values["images_seen"], **metrics}
            )
    return marks


def average(marks: list[report.Row]) -> list[report.Row]:
    """Return the means over the seeds at each variant's last evaluation, in their order."""
    table: list[report.Row] = []
    for variant in dict.fromkeys(row["variant"] for row in marks):
        rows = [row for row in marks if row["variant"] == variant]
        last = max(row["images"] for row in rows)
        final = [row for row in rows if row["images"] == last]
        line: report.Row = {"variant": variant, "images": last, "seeds": len(final)}
        for name in final[0]:
            if name not in ("variant", "seed", "images"):
                line[name] = statistics.mean(row[name] for row in final)
        table.append(line)
    return table


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings", nargs="+", help="recipe=NAME a.b=c, as for `gantrain train`")
    parser.add_argument(
        "--variant", type=parse_variant, action="append", required=True, help="NAME a.b=c ..."
    )
    parser.add_argument(
        "--seeds",
        default="0",
        type=report.counts,
        help="such as 0,1; each variant trains with each",
    )
    parser.add_argument("--name", default="variants", help="what the result's file is called")
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    parser.add_argument("--note", default="", help="is kept with the result")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    names = [word.removeprefix("recipe=") for word in args.settings if word.startswith("recipe=")]
    settings = [word for word in args.settings if not word.startswith("recipe=")]
    marks: list[report.Row] = []
    resolved: dict[str, report.Row] = {}
    try:
        if len(names) != 1:
            raise ValueError("recipe: name one, such as recipe=facades")
        # A mistake in the last variant shows before the first one trains.
        for variant in args.variant:
            resolved[variant.name] = recipes.load(names[0], [*settings, *variant.overrides]).dump()
        for seed in args.seeds:
            for variant in args.variant:
                run = train([f"recipe={names[0]}", *settings], variant, seed)
                marks += read_marks(run, variant.name, seed)
        if not marks:
            raise ValueError(
                "no run measured held-out images; give data.validation, and evaluate.every <="
                " length"
            )
    except ValueError as e:
        complain(f"variants: {e}")
        sys.exit(2)
    except subprocess.CalledProcessError as e:
        sys.exit(e.returncode)  # The run has reported the reason.
    more = {"note": args.note, "recipes": resolved, "marks": marks}
    report.conclude(args.name, args.out, average(marks), plots.variants(marks), **more)


if __name__ == "__main__":
    main()

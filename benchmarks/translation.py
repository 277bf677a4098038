"""Measures the speed of `gantrain translate`, from image files to PNG files.

    python benchmarks/translation.py runs/facades labels --batch-sizes 1,8

It translates the images of a folder with the model of a run. Beside it runs a loop as research code
has it: one image after the other is opened by Pillow, resized, normalised, translated in fp32 with
a batch of 1, and saved as PNG by Pillow's defaults. Both take turns. The networks are the same, so
that only the work around them differs.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import report
import torch
from PIL import Image

from gantrain import load
from gantrain.bench.loose_files import to_floats
from gantrain.bench.repeats import alternate, ratio
from gantrain.core.errors import UserError
from gantrain.inference.translate_files import find_inputs, translate_files
from gantrain.inference.translator import Translator


def _by_gantrain(model: Translator, folder: Path, batch_size: int) -> Callable[[], float]:
    """Return a function that translates the folder and returns the images per second."""

    def run() -> float:
        with tempfile.TemporaryDirectory() as out:
            before = time.perf_counter()
            done = translate_files(model, [folder], Path(out, "results"), batch_size)
            return len(done.results) / (time.perf_counter() - before)

    return run


def _by_plain_loop(model: Translator, files: list[Path]) -> Callable[[], float]:
    """Return a function that does the same as research code does it. It takes RGB images alone."""
    height, width = model.recipe.data.size  # at which the networks see the images
    generator = model.method.networks["generator"]

    def run() -> float:
        with tempfile.TemporaryDirectory() as out:
            before = time.perf_counter()
            for file in files:
                image = Image.open(file).convert("RGB")
                resized = image.resize((width, height), Image.Resampling.BICUBIC)
                source = to_floats(resized)[None]
                with torch.no_grad():
                    fake = generator(source.to(model.device))
                values = (fake[0].cpu().float().numpy().transpose(1, 2, 0) + 1) / 2 * 255
                Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(
                    Path(out, f"{file.stem}.png")
                )
            return len(files) / (time.perf_counter() - before)

    return run


def measure(args: argparse.Namespace) -> list[report.Row]:
    """Return a row for each loop."""
    files = list(find_inputs([args.images]))
    models = {
        precision: load(args.run, args.device, precision=precision)
        for precision in args.precisions.split(",")
    }
    first = next(iter(models.values()))
    if (first.source.kind, first.source.channels) != ("image", 3):
        raise UserError("run: found a model of other sources, allowed: one of RGB images")
    contenders: dict[tuple[str, int, str], Callable[[], float]] = {
        ("plain", 1, "fp32"): _by_plain_loop(load(args.run, args.device), files)
    }
    for name, model in models.items():
        for batch_size in args.batch_sizes:
            contenders["gantrain", batch_size, name] = _by_gantrain(model, args.images, batch_size)
    for contender in contenders.values():
        contender()  # The first pass pays for the choice of kernels.
    rates = alternate(contenders, args.repeats)
    rows: list[report.Row] = []
    for (loop, batch_size, precision), rate in rates.items():
        rows.append(
            {
                "loop": loop,
                "device": first.device.type,
                "threads": torch.get_num_threads(),
                "batch": batch_size,
                "precision": precision,
                "images/s": rate,
                "x plain": ratio(rate, rates["plain", 1, "fp32"]),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a run, or one of its checkpoints")
    parser.add_argument("images", type=Path, help="a folder of RGB images")
    parser.add_argument("--batch-sizes", type=report.positives, default=[1, 8], help="such as 1,8")
    parser.add_argument("--precisions", default="fp32,auto", help="such as fp32,bf16")
    parser.add_argument("--device", help="cpu or cuda; default: cuda if there is one")
    parser.add_argument("--repeats", type=report.positive, default=5)
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    parser.add_argument("--note", default="", help="is kept with the result")
    args = parser.parse_args()
    rows = measure(args)
    recipe = load(args.run, "cpu").recipe.dump()
    more = {"note": args.note, "recipes": {recipe["name"]: recipe}}
    report.conclude("translation", args.out, rows, lambda *_: None, **more)


if __name__ == "__main__":
    main()

r"""Measures samples per second and core of our shards, of webdataset and of loose files.

    python benchmarks/dataloading.py --images data/facades/train --workers 0,1,2
    python benchmarks/dataloading.py --stages kept --formats jpg,png,png16 \
        --places local,http --caches warm,cold

All loaders (`loaders.py`) return the same: batches of float images in [-1, 1], NCHW, cropped and
flipped at random. All of them read the same bytes: the files in the shards are copies of the loose
files.
"""

import argparse
import importlib.util
import itertools
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import loaders
import plots
import report
import torch
from loaders import View
from packing import FORMATS, cached_share, drop, gather, pack, served

from gantrain.bench.repeats import alternate, ratio, spread
from gantrain.core.console import complain

SOURCES = ("shards", "webdataset", "files", "torchvision")
Loop = Callable[[], Iterator[Any]]


class Set:
    """One set of samples as shards and as loose files, on the disk and behind a URL."""

    def __init__(self, given: Path, folder: Path, resize: int | None, extension: str) -> None:
        self.folder, self.extension = folder, extension
        self.shards = pack(given, folder, (resize, resize) if resize else None)
        self.names = sorted(file.name for file in (folder / "files").iterdir())

    def loop(self, source: str, base: str, view: View, deep: bool, cache: Path) -> Loop:
        """Return a function that starts the loader of a source.

        base: a path or URL of the folder.
        """
        if source == "shards":
            return partial(loaders.shards, f"{base}/shards", view, cache)
        if source == "webdataset":
            urls = [f"{base}/shards/{shard.name}" for shard in self.shards.index.shards]
            return partial(loaders.webdataset, urls, view, self.extension, deep)
        decode = loaders.by_torchvision if source == "torchvision" else loaders.pillow
        return partial(loaders.files, [f"{base}/files/{name}" for name in self.names], view, decode)


def samples_per_second(loop: Loop, view: View, cold: list[Path], used: list[float]) -> float:
    """Return the samples per second of one repeat, and append its CPU time to `used`.

    A warm repeat counts from the first batch on, so that it leaves out the start of the workers. A
    cold repeat counts from the start, because it would otherwise miss the samples that the workers
    read ahead. It goes through the samples only once. `used` receives the CPU time in ms a sample.
    """
    if cold:
        drop(cold)
    before, start = _cpu_seconds(), time.perf_counter()
    batches, count = loop(), 0
    if not cold:
        next(batches)
        start = time.perf_counter()
    number = view.total // view.batch - (not cold)
    for _ in itertools.islice(batches, number):
        count += view.batch
    rate = count / (time.perf_counter() - start)
    assert count == number * view.batch, f"{count} samples came, of {number * view.batch}"
    batches.close()  # The time of workers counts when they have ended.
    used.append(1e3 * (_cpu_seconds() - before) / (view.total // view.batch * view.batch))
    return rate


def _cpu_seconds() -> float:
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)


def measure(args: argparse.Namespace, folder: Path) -> tuple[list[report.Row], float | None]:
    """Return the rows, and the fraction of the files that stayed in the page cache.

    The fraction is measured after the system was asked to drop the files. It is None without cold
    repeats.
    """
    resizing = f"resized to {args.load_size} while loading"
    known = {  # the name in the table, the stored size, the size while loading
        "resizing": (resizing, None, args.load_size),
        "stored": (f"stored at {args.load_size}", args.load_size, None),
        "kept": ("as they are", None, None),
    }
    cache = Path(os.environ["GANTRAIN_CACHE"])
    rows: list[report.Row] = []
    with served(folder) as url:
        for form in args.formats:
            gather(args, folder / form, form)
            for stage in args.stages:
                name, stored, while_loading = known[stage]
                data = Set(folder / form, folder / f"{form}-{stage}", stored, form.rstrip("16"))
                if stage == "kept" and min(data.shards.fields["left"].min_size) < args.size:
                    continue
                for place, state, workers in itertools.product(
                    args.places, args.caches, args.workers
                ):
                    base = f"{url}/{data.folder.name}" if place == "http" else str(data.folder)
                    total = min(args.pairs, len(data.names)) if state == "cold" else args.pairs
                    view = View(args.size, while_loading, args.batch, workers, total)
                    row = {
                        "format": form,
                        "images": name,
                        "place": place,
                        "cache": state,
                        "workers": workers,
                    }
                    rows += compared(args.sources, data, base, view, row, cache, args.repeats)
    for row in rows:
        same = [{**row, "from": "files", "images": images} for images in (row["images"], resizing)]
        for column, wanted in zip(("x files", "x files, resizing"), same, strict=True):
            theirs = [r for r in rows if all(r[k] == wanted[k] for k in ("from", *_KEYS))]
            if theirs and row["from"] != "files":
                row[column] = ratio(row["samples/s"], theirs[0]["samples/s"])
    if "cold" not in args.caches:
        return rows, None
    drop([folder])
    return rows, round(cached_share(folder), 3)


_KEYS = ("format", "images", "place", "cache", "workers")


def compared(
    sources: list[str], data: Set, base: str, view: View, row: report.Row, cache: Path, repeats: int
) -> list[report.Row]:
    """Return a row for each source. The sources take turns."""
    used: dict[str, list[float]] = {source: [] for source in sources}
    dropped = [data.folder, cache] if row["cache"] == "cold" else []
    loops = {}
    for source in sources:
        loop = data.loop(source, base, view, row["format"] == "png16", cache)
        loops[source] = partial(samples_per_second, loop, view, dropped, used[source])
        if not dropped:  # Fill the caches.
            for _ in itertools.islice(loop(), len(data.names) // view.batch):
                pass
    rates = alternate(loops, repeats)
    rows = []
    for source, rate in rates.items():
        # The process that receives the batches is not counted: in training it does the steps.
        core = round(rate["median"] / max(1, view.workers), 1)
        cpu = spread(used[source])
        rows.append(
            {
                **row,
                "from": source,
                "samples/s": rate,
                "samples/s and core": core,
                "CPU ms a sample": cpu,
            }
        )
    return rows


def listed(text: str) -> list[str]:
    return text.split(",")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--images", type=Path, help="side-by-side pairs; default: drawn ones")
    given.add_argument("--shards", type=Path, help="the same, packed by `gantrain prepare`")
    parser.add_argument(
        "--workers",
        default=[0],
        type=lambda text: [int(n) for n in listed(text)],
        help="such as 0,1,2; 0: this process itself",
    )
    choices = {
        "formats": FORMATS,
        "stages": ("resizing", "stored", "kept"),
        "places": ("local", "http"),
        "caches": ("warm", "cold"),
        "sources": SOURCES,
    }
    defaults = {"stages": [*choices["stages"]], "sources": [*SOURCES]}
    for name, allowed in choices.items():
        parser.add_argument(
            f"--{name}",
            type=listed,
            default=defaults.get(name, [allowed[0]]),
            help=f"some of {','.join(allowed)}",
        )
    parser.add_argument("--samples", type=int, default=200, help="images used, at most")
    parser.add_argument("--pairs", type=int, default=400, help="loaded in each repeat")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=256, help="of the crop, pixels")
    parser.add_argument("--load-size", type=int, default=286, help="before the crop, pixels")
    parser.add_argument("--note", default="", help="is kept with the result")
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    args = parser.parse_args()
    for name, allowed in choices.items():
        if odd := set(getattr(args, name)) - {*allowed}:
            parser.error(f"--{name}: found {', '.join(sorted(odd))}, allowed: {', '.join(allowed)}")
    if args.load_size < args.size or args.pairs < 2 * args.batch:
        parser.error("--load-size must be at least --size, --pairs at least two batches")
    if importlib.util.find_spec("torchvision") is None:
        args.sources = [source for source in args.sources if source != "torchvision"]
    torch.set_num_threads(1)  # A loader may use one core of this process.
    os.environ["no_proxy"] = "127.0.0.1"
    try:
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as cache:
            os.environ["GANTRAIN_CACHE"] = cache
            rows, cached = measure(args, Path(folder))
    except ValueError as e:
        complain(f"dataloading: {e}")
        sys.exit(2)
    settings = {
        key: getattr(args, key) for key in ("samples", "pairs", "batch", "size", "load_size")
    }
    settings["cached when cold"] = cached
    report.conclude(
        "dataloading", args.out, rows, plots.dataloading, note=args.note, settings=settings
    )


if __name__ == "__main__":
    main()

"""Pairs per second and core from shards, and from loose files as reference loaders read them.

    python benchmarks/dataloading.py --images data/facades/train --workers 0,1,2

Both ends are the same: float images in [-1, 1], NCHW, cropped to 256 and flipped at random, in
batches from PyTorch's DataLoader. Both read the same files: those in the shards are byte for byte
the loose ones, and all have been read before, so the disk has no part in it.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import report
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gantrain.console import complain
from gantrain.data import drawing
from gantrain.data.batch import normalise
from gantrain.data.decode import encode
from gantrain.data.loader import Raw, View, training_loader
from gantrain.data.order import Order
from gantrain.data.prepare import prepare
from gantrain.data.shards import Shards

CPU = torch.device("cpu")
Size = tuple[int, int]


class Files(Dataset[dict[str, Tensor]]):
    """Side-by-side pairs as reference loaders read them; torchvision's transforms, spelled out."""

    def __init__(self, folder: Path, length: int, size: int, resize: int | None) -> None:
        self.paths = sorted(folder.iterdir())
        self.length, self.size, self.resize = length, size, resize

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        both = Image.open(self.paths[index % len(self.paths)]).convert("RGB")
        width, height = both.size
        boxes = {"left": (0, 0, width // 2, height), "right": (width // 2, 0, width, height)}
        wide, high = (self.resize, self.resize) if self.resize else (width // 2, height)
        x, y = random.randint(0, wide - self.size), random.randint(0, high - self.size)
        mirror = random.random() > 0.5
        return {name: self._shown(both.crop(box), x, y, mirror) for name, box in boxes.items()}

    def _shown(self, image: Image.Image, x: int, y: int, mirror: bool) -> Tensor:
        if self.resize:
            image = image.resize((self.resize, self.resize), Image.Resampling.BICUBIC)
        if image.size != (self.size, self.size):
            image = image.crop((x, y, x + self.size, y + self.size))
        if mirror:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        values = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
        return values.float().div(255).sub_(0.5).div_(0.5)


def from_files(args: argparse.Namespace, folder: Path, resize: int | None, workers: int) -> float:
    data = Files(folder, args.pairs, args.size, resize)
    loader = DataLoader(data, args.batch, shuffle=True, num_workers=workers, drop_last=True)
    return pairs_per_second(loader, args.batch, lambda batch: batch)


def from_shards(args: argparse.Namespace, shards: Shards, resize: int | None, workers: int) -> float:
    fields = {name: shards.fields[name] for name in ("left", "right")}
    resize_to = (resize, resize) if resize else None
    view = View(tuple(fields), frozenset(), (args.size, args.size), resize_to, flip=True)
    stop = args.pairs // args.batch * args.batch
    order = Order([shard.samples for shard in shards.index.shards], seed=0)
    loader = training_loader(
        shards, view, order=order, start=0, stop=stop, batch_size=args.batch,
        slots=range(args.batch), workers=workers,
    )  # fmt: skip

    # In training the device does this; here it counts, since the other side does it too.
    def finish(raw: Raw) -> list[Tensor]:
        return [normalise(raw.fields[n], f, torch.float32, CPU) for n, f in fields.items()]

    return pairs_per_second(loader, args.batch, finish)


def pairs_per_second(loader: DataLoader, batch_size: int, finish: Callable) -> float:
    """From the first batch on, so that starting the workers is left out."""
    batches = iter(loader)
    finish(next(batches))
    start, count = time.perf_counter(), 0
    for batch in batches:
        finish(batch)
        count += batch_size
    return count / (time.perf_counter() - start)


def gather(args: argparse.Namespace, folder: Path) -> None:
    """The images of --images or --shards, or drawn ones, as single files."""
    folder.mkdir()
    if args.images:
        for file in sorted(f for f in args.images.iterdir() if f.is_file())[: args.samples]:
            shutil.copy(file, folder)
    elif args.shards:
        unpack(Shards.open(args.shards), folder, args.samples)
    else:
        colours = np.array(drawing.PALETTE, np.uint8)
        for i in range(args.samples):
            ids, photograph = drawing.draw(i, args.size, args.size, seed=0)
            pair = np.concatenate([photograph, colours[ids]], axis=1)
            (folder / f"{i:06d}.jpg").write_bytes(encode(pair, "jpg"))  # quality 95


def unpack(shards: Shards, folder: Path, most: int) -> None:
    """The shards' files, byte for byte. Pillow tells their format by their content."""
    if set(shards.fields) != {"left", "right"} or len(shards.index.members) != 1:
        raise ValueError(
            f"{shards.folder}: found {', '.join(shards.fields)}, needed: left and right, "
            "the halves of side-by-side images"
        )
    folder.mkdir(exist_ok=True)
    for i in range(min(most, len(shards))):
        (folder / f"{i:06d}.jpg").write_bytes(shards.read(i, shards.index.members[0]))


def measure(args: argparse.Namespace, folder: Path) -> list[report.Row]:
    gather(args, folder / "given")

    def stored(name: str, resize: Size | None) -> tuple[Shards, Path]:
        """Both forms of the same files; what doesn't decode is in neither."""
        packed, loose = folder / f"{name}-shards", folder / f"{name}-files"
        prepare(folder / "given", packed, layout="pairs", resize=resize, progress=False)
        shards = Shards.open(packed)
        unpack(shards, loose, len(shards))
        return shards, loose

    original, resized = stored("original", None), stored("resized", (args.load_size,) * 2)
    resizing = f"resized to {args.load_size} while loading"
    stages = {resizing: (*original, args.load_size), f"stored at {args.load_size}": (*resized, None)}
    if min(original[0].fields["left"].min_size) >= args.size:
        stages["as they are"] = (*original, None)
    rows: list[report.Row] = []
    for workers in (int(w) for w in args.workers.split(",")):
        loops = {}
        for stage, (packed, loose, size) in stages.items():
            loops["shards", stage] = partial(from_shards, args, packed, size, workers)
            loops["files", stage] = partial(from_files, args, loose, size, workers)
        rates = report.alternate(loops, args.repeats)
        for (source, stage), rate in rates.items():
            row = {"images": stage, "from": source, "workers": workers, "pairs/s": rate}
            # The process that receives the batches is not counted: in training it does the steps.
            row["pairs/s and core"] = round(rate["median"] / max(1, workers), 1)
            if source == "shards":
                row["x files"] = report.ratio(rate, rates["files", stage])
                row["x files, resizing"] = report.ratio(rate, rates["files", resizing])
            rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--images", type=Path, help="side-by-side pairs; default: drawn ones")
    given.add_argument("--shards", type=Path, help="the same, packed by `gantrain prepare`")
    parser.add_argument("--workers", default="0", help="such as 0,1,2; 0: this process itself")
    parser.add_argument("--samples", type=int, default=200, help="images used, at most")
    parser.add_argument("--pairs", type=int, default=400, help="loaded in each repeat")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=256, help="of the crop, pixels")
    parser.add_argument("--load-size", type=int, default=286, help="before the crop, pixels")
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    args = parser.parse_args()
    if args.load_size < args.size or args.pairs < 2 * args.batch:
        parser.error("--load-size must be at least --size, --pairs at least two batches")
    torch.set_num_threads(1)  # a core is a core
    try:
        with tempfile.TemporaryDirectory() as folder:
            rows = measure(args, Path(folder))
    except ValueError as e:
        complain(f"dataloading: {e}")
        sys.exit(2)
    keys = ("samples", "pairs", "batch", "size", "load_size")
    settings = {key: getattr(args, key) for key in keys}
    report.conclude("dataloading", args.out, rows, settings=settings)


if __name__ == "__main__":
    main()

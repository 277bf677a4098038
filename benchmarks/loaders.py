"""The loaders that `dataloading.py` compares.

They are our stream, webdataset's pipeline, and loose files by Pillow and by torchvision. All of
them take side-by-side pairs. They return endless batches of float images in [-1, 1], NCHW, cropped
and flipped at random, from PyTorch's DataLoader. `View` states how: the `size` of the crop, and the
size `resize` before it in pixels, or None.
"""

import io
import random
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from gantrain.bench.loose_files import draw_view, show_image, to_floats
from gantrain.data import transforms
from gantrain.data.batch import normalise
from gantrain.data.kinds.table import KINDS
from gantrain.data.loader import training_loader
from gantrain.data.prefetch import Prefetch
from gantrain.data.remote import index_folder
from gantrain.data.sample_order import Order
from gantrain.data.shards import Shards
from gantrain.data.urls import is_url

CPU = torch.device("cpu")
Pair = dict[str, Tensor]


class View(NamedTuple):
    size: int
    resize: int | None
    batch: int
    workers: int
    total: int  # samples that will be taken


def read(place: str) -> bytes:
    """Return the bytes of a loose file from a path or a URL."""
    if not is_url(place):
        return Path(place).read_bytes()
    with urllib.request.urlopen(place) as answer:
        return answer.read()


def random_crop(width: int, height: int, size: int) -> tuple[int, int, bool]:
    """Return the left edge and the top edge of a crop, and whether to mirror it."""
    return random.randint(0, width - size), random.randint(0, height - size), random.random() > 0.5


def by_pillow(both: Image.Image, view: View) -> Pair:
    """Return a sample as reference loaders do, by Pillow."""
    deep = both.mode.startswith("I")
    both = both.convert("F" if deep else "RGB")  # Pillow can't resize 16 bits
    width, height = both.size
    boxes = {"left": (0, 0, width // 2, height), "right": (width // 2, 0, width, height)}
    resize = (view.resize, view.resize) if view.resize else None
    shown = draw_view((height, width // 2), (view.size, view.size), resize)
    pair = {}
    for name, box in boxes.items():
        pair[name] = to_floats(show_image(both.crop(box), shown), 65535 if deep else 255)
    return pair


def by_torchvision(data: bytes, view: View) -> Pair:
    """Return a sample by torchvision's own decoders, and its transforms on tensors."""
    from torchvision.io import decode_image
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as transform

    both = decode_image(
        torch.frombuffer(bytearray(data), dtype=torch.uint8)
    )  # CHW, uint8 or uint16
    deep, half = both.dtype == torch.uint16, both.shape[2] // 2
    both = both.float() if deep else both
    wide, high = (view.resize, view.resize) if view.resize else (half, both.shape[1])
    x, y, mirror = random_crop(wide, high, view.size)
    pair = {}
    for name, image in (("left", both[..., :half]), ("right", both[..., half:])):
        if view.resize:
            image = transform.resize(
                image, [view.resize] * 2, InterpolationMode.BICUBIC, antialias=True
            )
        image = transform.crop(image, y, x, view.size, view.size)
        image = transform.horizontal_flip(image) if mirror else image
        pair[name] = image.float().div(65535 if deep else 255).sub_(0.5).div_(0.5)
    return pair


class Files(torch.utils.data.Dataset[Pair]):
    """A data set of loose files, by number."""

    def __init__(
        self, places: list[str], view: View, decode: Callable[[bytes, View], Pair]
    ) -> None:
        self.places, self.view, self.decode = places, view, decode

    def __len__(self) -> int:
        return self.view.total

    def __getitem__(self, index: int) -> Pair:
        return self.decode(read(self.places[index % len(self.places)]), self.view)


def pillow(data: bytes, view: View) -> Pair:
    return by_pillow(Image.open(io.BytesIO(data)), view)


def files(
    places: list[str], view: View, decode: Callable[[bytes, View], Pair] = pillow
) -> Iterator[Any]:
    data = Files(places, view, decode)
    yield from DataLoader(data, view.batch, shuffle=True, num_workers=view.workers, drop_last=True)


def deep_png(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def webdataset(urls: list[str], view: View, extension: str, deep: bool) -> Iterator[Any]:
    """Return the pipeline of webdataset's documentation.

    Its own image decoders would cut 16 bits to 8.
    """
    import webdataset as wds

    decoder = wds.handle_extension("png", deep_png) if deep else "pil"
    data = (
        wds.WebDataset(urls, shardshuffle=len(urls), seed=0)
        .shuffle(100, initial=view.batch)
        .decode(decoder)
        .map(lambda sample: by_pillow(sample[f"pair.{extension}"], view))
        .repeat()
    )
    assert isinstance(data, IterableDataset)
    yield from DataLoader(data, view.batch, num_workers=view.workers, drop_last=True)


def shards(place: str, view: View, cache: Path) -> Iterator[Any]:
    """Return our stream, from a folder or a URL.

    The disk keeps shards from a URL, as in training.
    """
    data = Shards.open(index_folder(place, cache) if is_url(place) else place)
    resize = (view.resize, view.resize) if view.resize else None
    seen = transforms.SampleTransform(
        {"left": KINDS["image"], "right": KINDS["image"]}, (view.size, view.size), resize, flip=True
    )
    order = Order([shard.samples for shard in data.index.shards], seed=0)
    stop = view.total // view.batch * view.batch
    loader = training_loader(
        data,
        seen,
        order=order,
        start=0,
        stop=stop,
        batch_size=view.batch,
        slots=range(view.batch),
        workers=view.workers,
    )
    batches = iter(loader)
    ahead = Prefetch(data, order, range(1), 0, stop)
    try:
        for raw in batches:
            # In training the device does this; here it counts, since the others do it too.
            yield {
                name: normalise(raw.fields[name], data.fields[name], torch.float32, CPU)
                for name in raw.fields
            }
    finally:
        ahead.close()

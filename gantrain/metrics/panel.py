"""All the metrics asked for, of fakes against their targets; each rank adds its own samples."""

import contextlib
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gantrain import metrics
from gantrain.data.cache import cache
from gantrain.metrics.extractors import Extractor, Inception, make
from gantrain.metrics.features import Features, summed
from gantrain.metrics.paired import LPIPS, PAIRED, Perceptual, decibels, l1, l2

_BATCH = 32  # that extractors always get: on a GPU their features depend on it


@dataclass(frozen=True)
class Record:
    """One metric's value over `n` fakes.

    null: what as many real images get, `null_n` of them against the targets; None for distances of
    pairs. problem: why there is no value.
    """

    name: str
    value: float | None
    n: int
    null: float | None = None
    null_n: int | None = None
    extractor: str = ""
    digest: str = ""
    resize: str = "none"
    problem: str = ""


class _Described:
    """A set of images as an extractor describes it."""

    def __init__(self, extractor: Extractor) -> None:
        self.extractor = extractor
        self.waiting: list[Tensor] = []
        self.done: list[Tensor] = []
        self.recalled: Features | None = None

    def add(self, images: Tensor) -> None:
        if self.waiting and self.waiting[0].shape != images.shape[1:]:
            self._describe(len(self.waiting))
        self.waiting += images.unbind()
        while len(self.waiting) >= _BATCH:
            self._describe(_BATCH)

    def _describe(self, count: int) -> None:
        images = torch.stack(self.waiting[:count])
        self.waiting = self.waiting[count:]
        filled = torch.cat([images, images[:1].expand(_BATCH - count, -1, -1, -1)])
        self.done.append(self.extractor(filled)[:count].float().cpu())

    def features(self) -> Features:
        if self.recalled is None:
            if self.waiting:
                self._describe(len(self.waiting))
            self.recalled = Features(torch.cat(self.done) if self.done else self._none())
        return self.recalled

    def _none(self) -> Tensor:
        """No rows, but with their shape: this rank had no sample, others have."""
        return self.extractor(torch.zeros(_BATCH, 3, 64, 64, dtype=torch.uint8))[:0].float()


class Panel:
    """The metrics `names` over sets of images, on the device.

    weights: files by extractor. total: images in the set. border: pixels that distances of pairs
    leave out on each side. Raises ValueError for weights that can't be had.
    """

    def __init__(
        self,
        names: Sequence[str],
        device: torch.device,
        weights: Mapping[str, str] | None = None,
        total: int = 0,
        border: int = 0,
    ) -> None:
        self.names, self.device, self.border = tuple(map(metrics.check, names)), device, border
        weights = weights or {}
        self.perceptual = {n: Perceptual(n, weights).to(device) for n in self.names if n in LPIPS}
        wanted = dict.fromkeys(found[1] for n in self.names if (found := metrics.of_set(n)))
        self.extractors = {name: make(name, weights, device, total) for name in wanted}
        for name in self.names:
            network = self.extractors.get(metrics.SETS[name][1]) if name in metrics.PUBLISHED else None
            if isinstance(network, Inception) and not network.is_published:
                raise ValueError(
                    f"evaluate.metrics: {name} is a name for the published Inception weights, the file has digest "
                    f"{network.digest}; give weights-inception-2015-12-05-6726825d.pth, or ask for fd_inception, "
                    "kd_inception"
                )
        self.reset()

    def reset(self) -> None:
        """Forget all samples but the recalled sets."""
        self._sums: Counter[str] = Counter()
        self._sets = {s: {n: _Described(e) for n, e in self.extractors.items()} for s in ("fake", "real", "null")}
        self._problem = ""

    def recall(self, which: str, key: str) -> bool:
        """Take a set's features from the node's cache; returns whether all of them are there.

        key: says what the images are, down to their content.
        """
        files = {name: _cached(key, extractor) for name, extractor in self.extractors.items()}
        if not all(path.is_file() for path in files.values()):
            return False
        with contextlib.suppress(OSError, SafetensorError, KeyError):
            rows = {name: load_file(path)["features"] for name, path in files.items()}
            for name, described in self._sets[which].items():
                described.recalled = Features(rows[name], whole=True)
            return True
        return False

    def remember(self, which: str, key: str) -> None:
        """Put a set's features into the cache; every rank calls it."""
        for described in self._sets[which].values():
            path, rows = _cached(key, described.extractor), described.features().rows
            if dist.is_initialized() and dist.get_rank():
                continue
            with contextlib.suppress(OSError, SafetensorError):  # a full disk costs time, not results
                path.parent.mkdir(parents=True, exist_ok=True)
                partial = path.with_suffix(f".{os.getpid()}.partial")
                save_file({"features": rows.contiguous()}, partial)
                partial.replace(path)

    def add(self, fake: Tensor, target: Tensor, source: Tensor | None = None) -> None:
        """Fakes and targets, (N, C, H, W) in [-1, 1], as their files would hold them."""
        with _exact():
            self._add_pairs(fake.double(), target.double(), source)
        self.add_images("fake", fake)
        self.add_images("real", target)

    def _add_pairs(self, fake: Tensor, target: Tensor, source: Tensor | None) -> None:
        inner = slice(self.border, -self.border or None)
        whole, fake, target = (fake, target), fake[..., inner, inner], target[..., inner, inner]
        values = {name: PAIRED[name](fake, target) for name in self.names if name in PAIRED}
        values |= {name: network(fake, target) for name, network in self.perceptual.items()}
        if "psnr_pooled" in self.names:
            values["l2_"] = l2(fake, target)
        if "copy_index" in self.names and source is not None and source.shape == whole[0].shape:
            values |= {"moved_": l1(whole[0], source.double()), "distance_": l1(whole[1], source.double())}
        self._sums["samples"] += len(fake)
        for name, value in values.items():
            self._sums[name] += value.sum().item()

    def add_images(self, which: str, images: Tensor) -> None:
        """Images, (N, 1 or 3, H, W) in [-1, 1], to the set `fake`, `real` or `null`."""
        wanting = [d for d in self._sets[which].values() if d.recalled is None]
        if not wanting:
            return
        if images.shape[1] not in (1, 3):
            self._problem = f"images have {images.shape[1]} channels, extractors take 1 or 3"
            return
        eight_bit = ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).expand(-1, 3, -1, -1)
        with torch.no_grad(), _exact():
            for described in wanting:
                described.add(eight_bit)

    def results(self) -> list[Record]:
        """A record for each metric, over all ranks' samples, on every rank; every rank calls it."""
        # A rank that has had no sample knows no names.
        names = ["samples", "l2_", "moved_", "distance_", *(n for n in self.names if n in PAIRED or n in LPIPS)]
        totals = summed(torch.tensor([self._sums[name] for name in names], dtype=torch.float64)).tolist()
        sums = dict(zip(names, totals, strict=True))
        with _exact():
            return [self._record(name, sums) for name in self.names]

    def _record(self, name: str, sums: dict[str, float]) -> Record:
        n = int(sums["samples"])
        if name == "psnr_pooled":
            error = sums["l2_"] / max(n, 1)
            return Record(name, decibels(torch.tensor(error, dtype=torch.float64)).item(), n)
        if name == "copy_index":
            if not sums["distance_"]:
                return Record(name, None, n, problem="source and target are not alike in channels and size")
            return Record(name, sums["moved_"] / sums["distance_"], n)
        if name in sums:
            value = sums[name] / max(n, 1)
            return Record(name, value if value == value else None, n, problem="" if value == value else "too small")
        found = metrics.of_set(name)
        assert found
        return self._of_sets(name, *found)

    def _of_sets(self, name: str, distance: metrics.Distance, extractor: str) -> Record:
        network = self.extractors[extractor]
        about = {"extractor": network.name, "digest": network.digest, "resize": network.resize}
        fake, real, null = (self._sets[which][extractor].features() for which in ("fake", "real", "null"))
        if self._problem or min(len(fake), len(real)) < 2:
            return Record(name, None, len(fake), problem=self._problem or "fewer than two images", **about)
        null, against = (null, real) if len(null) > 1 else (_part(real, 0), _part(real, 1))
        nothing = distance(null, against) if min(len(null), len(against)) > 1 else None
        return Record(name, distance(fake, real), len(fake), nothing, len(null), **about)


def _part(features: Features, first: int) -> Features:
    return Features(features.rows[first::2], whole=True)


def _cached(key: str, extractor: Extractor) -> Path:
    told = "\n".join([key, extractor.name, extractor.digest, extractor.resize, str(getattr(extractor, "count", ""))])
    return cache() / "metrics" / f"{hashlib.sha256(told.encode()).hexdigest()[:32]}.safetensors"


@contextlib.contextmanager
def _exact() -> Iterator[None]:
    """In float32 as it is written: without autocast and TF32."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        with torch.autocast("cuda", enabled=False), torch.autocast("cpu", enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]

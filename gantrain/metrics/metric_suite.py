"""All the metrics asked for, of fakes against their targets; each rank adds its own samples."""

import contextlib
import math
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gantrain.core.world import gathered
from gantrain.metrics import feature_cache, registry
from gantrain.metrics.extractors import Extractor, network
from gantrain.metrics.features import Features
from gantrain.metrics.image_statistics import FunctionExtractor, RandomNetwork, patches
from gantrain.metrics.paired import LPIPS, PAIRED, Perceptual, decibels, l1, l2

EXTRACTOR_BATCH = 32  # that extractors always get: on a GPU their features depend on it
_PATCHES = 2**14  # of a set and level
_NO_VALUE = dict.fromkeys(LPIPS, "too small, or not of 1 or 3 channels")
_NO_VALUE["copy_index"] = "source and target differ in kind"
_NO_VALUE["cycle_error"] = "the method has no way back"
NAN = "images hold NaN"


@dataclass(frozen=True)
class Record:
    """One metric's value over `n` fakes.

    null: what real images get, `null_n` of them against the targets; None for distances of pairs.
    problem: why there is no value.
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


class _Set:
    """A set of images as an extractor describes it.

    recalled: its features, once they are all known. mixed: they depend on the images' sizes, which
    differ."""

    def __init__(self, extractor: Extractor) -> None:
        self.extractor, self.mixed = extractor, False
        self.waiting: list[Tensor] = []
        self.done: list[Tensor] = []
        self.recalled: Features | None = None

    def add(self, images: Tensor) -> None:
        if self.waiting and self.waiting[0].shape != images.shape[1:]:
            self._describe()
        for image in images:
            self.waiting.append(image)
            if len(self.waiting) == EXTRACTOR_BATCH:
                self._describe()

    def _describe(self) -> None:
        images, self.waiting = torch.stack(self.waiting), []
        filled = torch.cat([images, images[:1].expand(EXTRACTOR_BATCH - len(images), -1, -1, -1)])
        self.done.append(self.extractor(filled)[: len(images)].float().cpu())

    def features(self) -> Features:
        if self.recalled is None:
            if self.waiting:
                self._describe()
            # A rank without samples has none of their shape either.
            shapes = {
                shape for shapes in gathered({x.shape[1:] for x in self.done}) for shape in shapes
            }
            self.mixed = len(shapes) > 1
            none = torch.zeros(0, *(() if self.mixed else next(iter(shapes), ())))
            self.recalled = Features(none if self.mixed else torch.cat([none, *self.done]))
        return self.recalled


class MetricSuite:
    """The metrics `names` over sets of images, on the device.

    weights: files by extractor. total: images in the set. crop_border: pixels that metrics of pairs
    leave out on each side. Raises ValueError for weights that can't be had.
    """

    def __init__(
        self,
        names: Sequence[str],
        device: torch.device,
        weights: Mapping[str, str],
        total: int,
        crop_border: int = 0,
    ) -> None:
        self.names = tuple(map(registry.check, names))
        self.device = device
        self.crop_border = crop_border
        self.patches = max(4, min(128, _PATCHES // total))
        with torch.random.fork_rng(devices=[]):  # a run's own numbers stay as they were
            self.perceptual = {
                n: Perceptual(n, weights.get(n)).to(device) for n in self.names if n in LPIPS
            }
            wanted = dict.fromkeys(found[1] for n in self.names if (found := registry.of_set(n)))
            self.extractors = {name: self._extractor(name, weights) for name in wanted}
        for name in self.names:
            inception: Any = (
                self.extractors[registry.SETS[name][1]] if name in registry.PUBLISHED else None
            )
            if inception and not inception.is_published:
                raise ValueError(
                    f"evaluate.metrics: {name} is a name for the published Inception weights, the"
                    f" file's digest is {inception.digest}; give"
                    " weights-inception-2015-12-05-6726825d.pth, or ask for fd_inception"
                )
        self._sets = {
            s: {n: _Set(e) for n, e in self.extractors.items()} for s in ("fake", "real", "null")
        }
        self.reset()

    def _extractor(self, name: str, weights: Mapping[str, str]) -> Extractor:
        if name == "patches":
            return FunctionExtractor(
                partial(patches, count=self.patches), f"{self.patches} an image"
            )
        if name in registry.WEIGHTFREE:
            return FunctionExtractor(registry.WEIGHTFREE[name])
        if name in registry.RANDOM:
            return RandomNetwork(registry.RANDOM.index(name)).to(self.device)
        return network(name, weights.get(name.removesuffix("_logits")), self.device)

    def reset(self) -> None:
        """Forget the fakes; real sets that are complete stay."""
        self._sums: dict[str, float] = defaultdict(float)
        self._sets["fake"] = {n: _Set(e) for n, e in self.extractors.items()}
        self._problem = ""

    def load_reference(self, which: str, key: str) -> bool:
        """Take a set's features from the node's cache; returns whether it is known now. Every rank
        calls it.

        key: says what the images are, down to their content.
        """
        sets = self._sets[which]
        if all(one.recalled for one in sets.values()):
            return True
        found = {name: feature_cache.load_cached_features(self._told(key, name)) for name in sets}
        if all(gathered(all("features" in tensors for tensors in found.values()))):
            for name, one in sets.items():
                one.recalled = Features(found[name]["features"], whole=True)
            return True
        return False

    def store_reference(self, which: str, key: str) -> None:
        """Put a complete set's features into the node's cache. Every rank calls it."""
        for name, one in self._sets[which].items():
            rows = one.features().rows
            if not one.mixed and os.environ.get("LOCAL_RANK", "0") == "0":
                feature_cache.store_features(self._told(key, name), {"features": rows.contiguous()})

    def _told(self, key: str, name: str) -> str:
        return "\n".join([key, name, self.extractors[name].digest, self.extractors[name].resize])

    def add(
        self, fake: Tensor, target: Tensor, source: Tensor | None = None, **more: Tensor
    ) -> None:
        """Fakes and targets, (N, C, H, W) in [-1, 1], as their files would hold them.

        more: other values of each sample, (N) or (), whose means are wanted.
        """
        with full_precision():
            values = self._pairs(fake.double(), target.double(), source)
        for name, value in {**values, **more}.items():
            self._sums[name] += value.double().expand(len(fake)).sum().item()
        self._sums["samples"] += len(fake)
        self.add_images("fake", fake)
        self.add_images("real", target)

    def _pairs(self, fake: Tensor, target: Tensor, source: Tensor | None) -> dict[str, Tensor]:
        inner = slice(self.crop_border, -self.crop_border or None)
        cut = fake[..., inner, inner], target[..., inner, inner]
        values = {name: PAIRED[name](*cut) for name in self.names if name in PAIRED}
        values |= {name: net(*cut) for name, net in self.perceptual.items()}
        if "psnr_pooled" in self.names:
            pixels = float(cut[0][0].numel())
            values |= {"psnr_pooled": l2(*cut) * pixels, "pixels": torch.tensor(pixels)}
        if (
            "copy_index" in self.names
            and source is not None
            and source.shape == fake.shape == target.shape
        ):
            values |= {
                "copy_index": l1(fake, source.double()),
                "distance": l1(target, source.double()),
            }
        return values

    def add_images(self, which: str, images: Tensor) -> None:
        """Images, (N, 1 or 3, H, W) in [-1, 1], to the set `fake`, `real` or `null`."""
        wanting = [one for one in self._sets[which].values() if not one.recalled]
        if images.isnan().any():
            self._problem = NAN
        elif wanting and images.shape[1] not in (1, 3):
            self._problem = f"images have {images.shape[1]} channels, extractors take 1 or 3"
        elif wanting:
            eight_bit = (
                ((images.float() + 1) * 127.5)
                .round()
                .clamp(0, 255)
                .to(torch.uint8)
                .expand(-1, 3, -1, -1)
            )
            with torch.no_grad(), full_precision():
                for one in wanting:
                    one.add(eight_bit)

    def results(self) -> list[Record]:
        """A record for each metric, over all ranks' samples, on every rank; every rank calls it."""
        sums: dict[str, float] = defaultdict(float)
        for own in gathered(self._sums):  # a rank that has had no sample knows no names
            for name, value in own.items():
                sums[name] += value
        self._problem = next(filter(None, gathered(self._problem)), "")
        n, distance = int(sums.pop("samples", 0)), sums.pop("distance", 0.0)
        if pixels := sums.pop("pixels", 0.0):  # of all images, which may differ in size
            sums["psnr_pooled"] *= n / pixels
        names = dict.fromkeys([*self.names, *sums])
        with full_precision():
            return [self._record(name, sums, n, distance) for name in names]

    def _record(self, name: str, sums: Mapping[str, float], n: int, distance: float) -> Record:
        if found := registry.of_set(name):
            return self._of_sets(name, *found)
        value = sums.get(name, math.nan) / max(n, 1)
        if name == "psnr_pooled":
            value = decibels(torch.tensor(value, dtype=torch.float64)).item()
        if name == "copy_index":
            value = sums[name] / distance if distance else torch.nan
        problem = (
            ""
            if value == value
            else NAN
            if self._problem == NAN
            else _NO_VALUE.get(name, "too small")
        )
        net = self.perceptual.get(name)
        about = {"extractor": net.backbone, "digest": net.digest} if net else {}
        return Record(name, None if problem else value, n, problem=problem, **about)

    def _of_sets(self, name: str, distance: registry.Distance, extractor: str) -> Record:
        used = self.extractors[extractor]
        about: dict[str, Any] = {
            "extractor": extractor,
            "digest": used.digest,
            "resize": used.resize,
        }
        sets = [self._sets[which][extractor] for which in ("fake", "real", "null")]
        fake, real, null = (one.features() for one in sets)
        problem = self._problem
        if any(one.mixed for one in sets) or (
            real.count and fake.local.shape[1:] != real.local.shape[1:]
        ):
            problem = problem or "images differ in size"
        elif min(fake.count, real.count) < 2:
            problem = problem or "fewer than two images"
        elif not all(gathered(all(bool(x.local.isfinite().all()) for x in (fake, real, null)))):
            problem = problem or "features not finite: too small images, or broken weights"
        if problem:
            return Record(name, None, fake.count, problem=problem, **about)
        null, against = (null, real) if null.count > 1 else (_half(real, 0), _half(real, 1))
        both = (
            distance(fake, real),
            distance(null, against) if min(null.count, against.count) > 1 else math.nan,
        )
        value, nothing = (x if math.isfinite(x) else None for x in both)
        problem = "not finite: too few images, or too small" if value is None else ""
        return Record(name, value, fake.count, nothing, null.count, problem=problem, **about)


def _half(features: Features, first: int) -> Features:
    return Features(features.rows[first::2], whole=True)


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
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

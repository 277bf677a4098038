"""The metrics that a user chose, of fakes against their targets; each rank adds its own samples."""

import contextlib
import math
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gantrain.core.own_code import naming_failure
from gantrain.core.world import gathered
from gantrain.metrics import feature_cache, registry
from gantrain.metrics.feature_set import FeatureSet
from gantrain.metrics.features import Features
from gantrain.metrics.metric_networks import load_extractors, load_perceptual
from gantrain.metrics.paired import LPIPS, PAIRED, decibels, l1, l2

_PATCHES = 2**14  # patches of a set at each level
_SETS = ("fake", "real", "null")
_NO_VALUE = dict.fromkeys(LPIPS, "too small, or not of 1 or 3 channels")
_NO_VALUE["copy_index"] = "source and target differ in kind"
_NO_VALUE["cycle_error"] = "the method does not measure it"
NAN = "images hold NaN"


@dataclass(frozen=True)
class Record:
    """The value of one metric over `n` generated images.

    Attributes:
        name: The name of the metric.
        value: The value, or None.
        n: The number of generated images.
        null: The value that real images have against the targets. It is None for metrics of pairs.
        null_n: The number of those real images.
        extractor: The network or function that computes the features.
        digest: The digest of that network's weights.
        resize: How that network resizes the images.
        problem: The reason if there is no value.
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


class MetricSuite:
    """The metrics `names` over sets of images, on one device.

    weights: files by extractor. total: the number of images in the set. crop_border: pixels at each
    edge that metrics of pairs leave out. Raises UserError for weights that are not available.
    """

    def __init__(
        self,
        names: Sequence[str],
        device: torch.device,
        weights: Mapping[str, str],
        total: int,
        crop_border: int = 0,
    ) -> None:
        self.names = tuple(registry.check(name) for name in names)
        self.crop_border = crop_border
        self.patches = max(4, min(128, _PATCHES // total))  # of an image
        with torch.random.fork_rng(devices=[]):  # a run's random numbers do not depend on metrics
            self.perceptual = load_perceptual(self.names, device, weights)
            self.extractors = load_extractors(self.names, device, weights, self.patches)
        self._sets = {which: self._empty_sets() for which in _SETS}
        self.reset()

    def _empty_sets(self) -> dict[str, FeatureSet]:
        return {name: FeatureSet(extractor) for name, extractor in self.extractors.items()}

    def reset(self) -> None:
        """Forget the fakes. Real sets that are complete stay."""
        self._sums: dict[str, float] = defaultdict(float)
        self._sets["fake"] = self._empty_sets()
        self._problem = ""

    def load_reference(self, which: str, key: str) -> bool:
        """Load a set's features from the node's cache; return whether they are complete.

        Every rank calls it. which: the set. key: describes its images, down to their content.
        """
        sets = self._sets[which]
        if all(feature_set.cached for feature_set in sets.values()):
            return True
        loaded: dict[str, dict[str, Tensor]] = {}
        for name in sets:
            loaded[name] = feature_cache.load_cached_features(self._cache_key(key, name))
        is_complete = all("features" in tensors for tensors in loaded.values())
        if not all(gathered(is_complete)):
            return False
        for name, feature_set in sets.items():
            feature_set.cached = Features(loaded[name]["features"], on_every_rank=True)
        return True

    def store_reference(self, which: str, key: str) -> None:
        """Store a complete set's features in the node's cache. Every rank calls it."""
        is_node_leader = os.environ.get("LOCAL_RANK", "0") == "0"
        for name, feature_set in self._sets[which].items():
            rows = feature_set.features().rows
            if is_node_leader and not feature_set.mixed:
                tensors = {"features": rows.contiguous()}
                feature_cache.store_features(self._cache_key(key, name), tensors)

    def _cache_key(self, key: str, name: str) -> str:
        extractor = self.extractors[name]
        return "\n".join([key, name, extractor.digest, extractor.resize])

    def add(
        self, fake: Tensor, target: Tensor, source: Tensor | None = None, **more: Tensor
    ) -> None:
        """Add fakes and targets, (N, C, H, W) in [-1, 1], as their files would hold them.

        more: other values of each sample, (N) or (), whose means become metrics.
        """
        with full_precision():
            values = self._pair_values(fake.double(), target.double(), source)
        for name, value in {**values, **more}.items():
            self._sums[name] += value.double().expand(len(fake)).sum().item()
        self._sums["samples"] += len(fake)
        self.add_images("fake", fake)
        self.add_images("real", target)

    def _pair_values(
        self, fake: Tensor, target: Tensor, source: Tensor | None
    ) -> dict[str, Tensor]:
        """Return the values of metrics of pairs, and what pooled metrics are computed from."""
        inner = slice(self.crop_border, -self.crop_border or None)
        inner_fake = fake[..., inner, inner]
        inner_target = target[..., inner, inner]
        values: dict[str, Tensor] = {}
        for name in self.names:
            if name in PAIRED:
                with naming_failure(PAIRED[name]):
                    values[name] = PAIRED[name](inner_fake, inner_target)
        for name, network in self.perceptual.items():
            values[name] = network(inner_fake, inner_target)
        if "psnr_pooled" in self.names:
            pixels = float(inner_fake[0].numel())
            values["psnr_pooled"] = l2(inner_fake, inner_target) * pixels
            values["pixels"] = torch.tensor(pixels)
        if "copy_index" not in self.names or source is None:
            return values
        if source.shape == fake.shape == target.shape:
            values["copy_index"] = l1(fake, source.double())
            values["distance"] = l1(target, source.double())
        return values

    def add_images(self, which: str, images: Tensor) -> None:
        """Add images, (N, 1 or 3, H, W) in [-1, 1], to the set `fake`, `real` or `null`."""
        incomplete = [
            feature_set for feature_set in self._sets[which].values() if not feature_set.cached
        ]
        if images.isnan().any():
            self._problem = NAN
            return
        if not incomplete:
            return
        if images.shape[1] not in (1, 3):
            self._problem = f"images have {images.shape[1]} channels, extractors take 1 or 3"
            return
        levels = ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        with torch.no_grad(), full_precision():
            for feature_set in incomplete:
                feature_set.add(levels.expand(-1, 3, -1, -1))

    def results(self) -> list[Record]:
        """Return a record for each metric, over all ranks' samples. Every rank calls it."""
        sums: dict[str, float] = defaultdict(float)
        for of_rank in gathered(self._sums):  # a rank without samples has no names
            for name, value in of_rank.items():
                sums[name] += value
        problems = [problem for problem in gathered(self._problem) if problem]
        self._problem = problems[0] if problems else ""
        n = int(sums.pop("samples", 0))
        distance = sums.pop("distance", 0.0)
        pixels = sums.pop("pixels", 0.0)
        if pixels:  # of all images, which may differ in size
            sums["psnr_pooled"] *= n / pixels
        names = dict.fromkeys([*self.names, *sums])
        records: list[Record] = []
        with full_precision():
            for name in names:
                set_metric = registry.of_set(name)
                if set_metric is None:
                    records.append(self._mean_record(name, sums, n, distance))
                else:
                    records.append(self._of_sets(name, *set_metric))
        return records

    def _mean_record(self, name: str, sums: Mapping[str, float], n: int, distance: float) -> Record:
        """Return the record of a metric that is a mean over samples.

        distance: the sum of the distances between sources and targets.
        """
        value = sums.get(name, math.nan) / max(n, 1)
        if name == "psnr_pooled":
            value = decibels(torch.tensor(value, dtype=torch.float64)).item()
        if name == "copy_index":
            value = sums[name] / distance if distance else math.nan
        problem = ""
        if math.isnan(value):
            problem = NAN if self._problem == NAN else _NO_VALUE.get(name, "too small")
        network = self.perceptual.get(name)
        return Record(
            name,
            None if problem else value,
            n,
            extractor="" if network is None else network.backbone,
            digest="" if network is None else network.digest,
            problem=problem,
        )

    def _of_sets(self, name: str, distance: registry.Distance, extractor: str) -> Record:
        """Return the record of a metric that is a distance of sets."""
        fake, real, null = (self._sets[which][extractor].features() for which in _SETS)
        description: dict[str, Any] = {
            "extractor": extractor,
            "digest": self.extractors[extractor].digest,
            "resize": self.extractors[extractor].resize,
        }
        problem = self._problem or self._find_set_problem(extractor)
        if problem:
            return Record(name, None, fake.count, problem=problem, **description)
        reference = real
        if null.count < 2:  # without real images besides the targets, one half meets the other
            null = _half(real, 0)
            reference = _half(real, 1)
        null_value = math.nan
        with naming_failure(distance):
            value = distance(fake, real)
            if min(null.count, reference.count) > 1:
                null_value = distance(null, reference)
        if not math.isfinite(value):
            problem = "not finite: too few images, or too small"
        return Record(
            name,
            value if math.isfinite(value) else None,
            fake.count,
            null=null_value if math.isfinite(null_value) else None,
            null_n=null.count,
            problem=problem,
            **description,
        )

    def _find_set_problem(self, extractor: str) -> str:
        """Return why a distance of sets has no value, or an empty text. Every rank calls it."""
        sets = [self._sets[which][extractor] for which in _SETS]
        fake, real, null = (feature_set.features() for feature_set in sets)
        if any(feature_set.mixed for feature_set in sets):
            return "images differ in size"
        if real.count and fake.local.shape[1:] != real.local.shape[1:]:
            return "images differ in size"
        if min(fake.count, real.count) < 2:
            return "fewer than two images"
        is_finite = all(bool(x.local.isfinite().all()) for x in (fake, real, null))
        if not all(gathered(is_finite)):
            return "features not finite: too small images, or broken weights"
        return ""


def _half(features: Features, first: int) -> Features:
    return Features(features.rows[first::2], on_every_rank=True)


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Compute in float32 as written, without autocast and TF32."""
    matmul_precision = torch.get_float32_matmul_precision()
    allows_tf32 = torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        with torch.autocast("cuda", enabled=False), torch.autocast("cpu", enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(matmul_precision)
        torch.backends.cudnn.allow_tf32 = allows_tf32

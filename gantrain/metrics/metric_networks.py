"""Load the networks and functions that metrics look through."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch

from gantrain.core.errors import UserError
from gantrain.metrics import registry
from gantrain.metrics.extractors import Extractor, load_extractor
from gantrain.metrics.image_statistics import FunctionExtractor, RandomNetwork, patches
from gantrain.metrics.paired import LPIPS, Perceptual


def load_perceptual(
    names: Sequence[str], device: torch.device, weights: Mapping[str, str]
) -> dict[str, Perceptual]:
    """Return LPIPS's networks by metric. weights: files by metric. Raises UserError."""
    networks: dict[str, Perceptual] = {}
    for name in names:
        if name in LPIPS:
            networks[name] = Perceptual(name, weights.get(name)).to(device)
    return networks


def load_extractors(
    names: Sequence[str], device: torch.device, weights: Mapping[str, str], patch_count: int
) -> dict[str, Extractor]:
    """Return the extractors of all distances of sets, by the extractors' names.

    names: of metrics. weights: files by network. patch_count: patches of each image. Raises
    UserError for weights that are not available, and for other weights than the published ones
    where a metric's name stands for these.
    """
    extractors: dict[str, Extractor] = {}
    for name in names:
        set_metric = registry.of_set(name)
        if set_metric is None or set_metric[1] in extractors:
            continue
        extractor = set_metric[1]
        if extractor == "patches":
            function = partial(patches, count=patch_count)
            extractors[extractor] = FunctionExtractor(function, f"{patch_count} an image")
        elif extractor in registry.WEIGHTFREE:
            extractors[extractor] = FunctionExtractor(registry.WEIGHTFREE[extractor])
        elif extractor in registry.RANDOM:
            seed = registry.RANDOM.index(extractor)
            extractors[extractor] = RandomNetwork(seed).to(device)
        else:
            path = weights.get(extractor.removesuffix("_logits"))
            extractors[extractor] = load_extractor(extractor, path, device)
    _check_published(names, extractors)
    return extractors


def _check_published(names: Sequence[str], extractors: Mapping[str, Extractor]) -> None:
    """Refuse a name of the papers for other weights than theirs. Raises UserError."""
    for name in names:
        if name not in registry.PUBLISHED:
            continue
        inception: Any = extractors[registry.SETS[name][1]]
        if not inception.is_published:
            raise UserError(
                f"evaluate.metrics: {name} is a name for the published Inception weights, the"
                f" file's digest is {inception.digest}; give"
                " weights-inception-2015-12-05-6726825d.pth, or ask for fd_inception"
            )

"""Metrics that count how often a segmenter finds the class from which a fake's pixel was made.

Papers on label maps measure so, by segmenters that know one data set each (pix2pix's FCN score,
arXiv 1611.07004, has that of Cityscapes). Here a small U-Net learns the run's own pairs, from
target to source, and the metrics' names say so: the numbers compare runs on the same data, and do
not compare with papers.
"""

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantrain.metrics.extractors import digest
from gantrain.metrics.metric_suite import NAN, Record, full_precision
from gantrain.metrics.registry import SEGMENTATION

WIDTHS = (16, 32, 64, 128)  # of the segmenter's levels, from full size on


class Segmenter(nn.Module):
    """A small U-Net from images (N, channels, H, W) in [-1, 1] to logits (N, classes, H, W).

    Images have 8 pixels or more a side.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.downs = nn.ModuleList(_block(b, a) for b, a in pairwise((channels, *WIDTHS)))
        self.ups = nn.ModuleList(_block(b + a, a) for b, a in pairwise(WIDTHS[::-1]))
        self.last = nn.Conv2d(WIDTHS[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for down in self.downs:
            x = down(F.max_pool2d(x, 2) if skips else x)
            skips.append(x)
        for up, skip in zip(self.ups, skips[-2::-1], strict=True):
            x = up(torch.cat([F.interpolate(x, skip.shape[2:]), skip], 1))
        logits: Tensor = self.last(x)
        return logits


def _block(before: int, after: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [
            nn.Conv2d(channels, after, 3, padding=1, bias=False),
            nn.GroupNorm(8, after),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)


class Segmentation:
    """Measures how often the segmenter finds the classes; each rank adds its own samples.

    names: the metrics. ignored: a class that is not scored, or None.
    """

    def __init__(self, names: Iterable[str], network: Segmenter, ignored: int | None) -> None:
        self.names = list(names)
        self.network = network
        self.ignored = ignored
        self.reset()

    def reset(self) -> None:
        """Begin a new measurement."""
        classes = self.network.last.out_channels
        # Pixels by [of fakes, of targets; true class; predicted class].
        self.counts = torch.zeros(2, classes, classes, dtype=torch.int64)
        self.images = 0
        self.batches_with_nan = 0

    def add(self, labels: Tensor, fake: Tensor, target: Tensor) -> None:
        """Add one-hot labels with their fakes and targets, (N, C, H, W)."""
        true = labels.argmax(1)
        for counts, images in zip(self.counts, (fake, target), strict=True):
            with full_precision():
                logits = self.network(images.float())
            if self.ignored is not None:
                logits[:, self.ignored] = -torch.inf
            pairs = (true * len(counts) + logits.argmax(1)).flatten().cpu()
            counts += torch.bincount(pairs, minlength=counts.numel()).view_as(counts)
        self.images += len(fake)
        self.batches_with_nan += int(fake.isnan().any())

    def results(self, gather: Callable[[Any], list[Any]]) -> list[Record]:
        """Return the metrics over all ranks' samples; null is what the targets get."""
        ranks = gather((self.counts, self.images, self.batches_with_nan))
        counts = torch.zeros_like(self.counts)
        images = 0
        batches_with_nan = 0
        for counts_of_rank, images_of_rank, broken_of_rank in ranks:
            counts += counts_of_rank
            images += images_of_rank
            batches_with_nan += broken_of_rank
        fake = _scores(counts[0], self.ignored)
        target = _scores(counts[1], self.ignored)
        problem = ""
        if batches_with_nan:
            problem = NAN
        elif not fake:
            problem = "no pixel is of any class"
        weights_digest = digest(self.network)
        records: list[Record] = []
        for name in self.names:
            record = Record(
                name,
                value=None if problem else fake[name],
                n=images,
                null=target.get(name),
                null_n=images,
                extractor="unet",
                digest=weights_digest,
                problem=problem,
            )
            records.append(record)
        return records


def _scores(counts: Tensor, ignored: int | None) -> dict[str, float]:
    """Return the metrics of pixels counted by [true class, predicted class].

    Means leave out classes that are nowhere. The result is empty where no pixel counts.
    """
    counts = counts.double().clone()
    if ignored is not None:
        counts[ignored] = 0
    if not counts.any():
        return {}
    right = counts.diag()
    true = counts.sum(1)
    predicted = counts.sum(0)
    is_true_somewhere = true > 0
    is_anywhere = (true + predicted) > 0
    values = (
        (right / (true + predicted - right))[is_anywhere].mean(),
        right.sum() / counts.sum(),
        (right / true)[is_true_somewhere].mean(),
    )
    return dict(zip(SEGMENTATION, (value.item() for value in values), strict=True))

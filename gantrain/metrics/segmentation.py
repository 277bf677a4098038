"""How often a segmenter finds in a fake the class that each pixel was made from, as papers on label
maps measure.

Their segmenters know one data set each (pix2pix's FCN score, arXiv 1611.07004, has Cityscapes').
Here it is a small U-Net trained on the run's own pairs, from target to source, and the names say
so: its numbers compare runs on the same data, not with papers."""

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantrain.metrics.extractors import digest, load_weights
from gantrain.metrics.metric_suite import NAN, Record, full_precision
from gantrain.metrics.registry import SEGMENTATION

_WIDTHS = (16, 32, 64, 128)
STEPS, BATCH = 1000, 8  # of its training

State = dict[str, Tensor]


class Segmenter(nn.Module):
    """From images (N, channels, H, W) in [-1, 1] to logits (N, classes, H, W), of 8 pixels or
    more a side.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.downs = nn.ModuleList(_block(b, a) for b, a in pairwise((channels, *_WIDTHS)))
        self.ups = nn.ModuleList(_block(b + a, a) for b, a in pairwise(_WIDTHS[::-1]))
        self.last = nn.Conv2d(_WIDTHS[0], classes, 1)

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


def read(path: str, network: Segmenter) -> State:
    """Weights of a segmenter that an evaluation trained. Raises ValueError."""
    state = load_weights(path)
    if {k: v.shape for k, v in state.items()} != {
        k: v.shape for k, v in network.state_dict().items()
    }:
        raise ValueError(
            f"evaluate.weights: {path} is no unet for these channels and classes; give another file"
        )
    return state


def told(pairs: str) -> str:
    """What the cache keeps the weights under. pairs: says what they are, down to their content."""
    return f"{pairs} {_WIDTHS} {STEPS} {BATCH}"


def trained(
    network: Segmenter, batches: Iterable[tuple[Tensor, Tensor]], ignored: int | None
) -> State:
    """Its weights after batches of one-hot labels (N, classes, H, W) and images; the class
    `ignored` counts nowhere.

    Raises ValueError where there is no batch.
    """
    step = -1
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    with torch.enable_grad():
        for step, (labels, images) in enumerate(batches):
            for group in optimizer.param_groups:
                group["lr"] = 1e-3 * (1 - step / STEPS)
            ids = labels.argmax(1)
            if ignored is not None:
                ids = ids.masked_fill(ids == ignored, -1)
            optimizer.zero_grad()
            # A batch of ignored pixels alone has no mean.
            loss: Any = F.cross_entropy(network(images.float()), ids, ignore_index=-1).nan_to_num()
            loss.backward()
            optimizer.step()
    if step < 0:
        raise ValueError(
            "evaluate.metrics: no sample of data.train can be read, so no segmenter can learn from"
            " them"
        )
    return {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}


class Segmentation:
    """The metrics `names` of a set; each rank adds its own samples. ignored: a class that isn't
    scored.
    """

    def __init__(self, names: Iterable[str], network: Segmenter, ignored: int | None) -> None:
        self.names, self.network, self.ignored = list(names), network, ignored
        self.reset()

    def reset(self) -> None:
        classes = self.network.last.out_channels
        # [of fakes, of targets; true class; found class], the images counted, and those of them
        # that hold NaN.
        self.counts, self.n, self.broken = torch.zeros(2, classes, classes, dtype=torch.int64), 0, 0

    def add(self, labels: Tensor, fake: Tensor, target: Tensor) -> None:
        """One-hot labels, fakes and targets, (N, C, H, W)."""
        true = labels.argmax(1)
        for counts, images in zip(self.counts, (fake, target), strict=True):
            with full_precision():
                logits = self.network(images.float())
            if self.ignored is not None:
                logits[:, self.ignored] = -torch.inf
            pairs = (true * len(counts) + logits.argmax(1)).flatten().cpu()
            counts += torch.bincount(pairs, minlength=counts.numel()).view_as(counts)
        self.n += len(fake)
        self.broken += int(fake.isnan().any())

    def results(self, gather: Callable[[Any], list[Any]]) -> list[Record]:
        """Over all ranks' samples; null is what the targets get."""
        ranks = gather((self.counts, self.n, self.broken))
        fake, target = (
            _scores(one, self.ignored)
            for one in torch.stack([counts for counts, _, _ in ranks]).sum(0)
        )
        n, problem = (
            sum(n for _, n, _ in ranks),
            NAN if any(broken for _, _, broken in ranks) else "",
        )
        if not problem and not fake:
            problem = "no pixel is of any class"
        about = {"extractor": "unet", "digest": digest(self.network), "problem": problem}
        return [
            Record(name, None if problem else fake[name], n, target.get(name), n, **about)
            for name in self.names
        ]


def _scores(counts: Tensor, ignored: int | None) -> dict[str, float]:
    """Of counts [true class, found class]; classes that are nowhere have no part in means. Empty
    without any pixel.
    """
    counts = counts.double().clone()
    if ignored is not None:
        counts[ignored] = 0
    if not counts.any():
        return {}
    right, true, found = counts.diag(), counts.sum(1), counts.sum(0)
    there, seen = true > 0, (true + found) > 0
    values = (
        (right / (true + found - right))[seen].mean(),
        right.sum() / counts.sum(),
        (right / true)[there].mean(),
    )
    return dict(zip(SEGMENTATION, (value.item() for value in values), strict=True))

"""Descriptions of images that need no trained weights; each takes uint8 images, (N, 3, H, W)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SMALLEST = 16  # pixels of the pyramid's last level
_PATCH = 7
_THUMBNAIL = 32


def patches(images: Tensor, count: int) -> Tensor:
    """Patches of 7x7 pixels of each level of a Laplacian pyramid, (N, levels, count, 3, 49).

    Their places are random, but the same in every image. NaN for images smaller than a patch.
    """
    if min(images.shape[2:]) < _PATCH:
        return images.new_full(
            (len(images), 1, count, 3, _PATCH**2), torch.nan, dtype=torch.float32
        )
    x, levels, places = images.float(), [], torch.Generator().manual_seed(0)
    while True:
        last = min(x.shape[2:]) < 2 * _SMALLEST
        below = x if last else _halved(x)
        detail = (
            x
            if last
            else x - F.interpolate(below, x.shape[2:], mode="bilinear", align_corners=False)
        )
        rows, columns = (
            torch.randint(s - _PATCH + 1, (count,), generator=places) for s in x.shape[2:]
        )
        cut = detail.unfold(2, _PATCH, 1).unfold(3, _PATCH, 1)[
            :, :, rows, columns
        ]  # N, 3, count, 7, 7
        levels.append(cut.transpose(1, 2).flatten(3))
        if last:
            return torch.stack(levels, dim=1)
        x = below


def _halved(x: Tensor) -> Tensor:
    row = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=x.device) / 16
    kernel = torch.outer(row, row).expand(x.shape[1], 1, 5, 5)
    y: Tensor = F.conv2d(
        F.pad(x, (2, 2, 2, 2), mode="reflect"), kernel, stride=2, groups=x.shape[1]
    )
    return y


def radial_spectrum(images: Tensor) -> Tensor:
    """Mean power of the grey image at each whole frequency, from 1 a side to the diagonal's
    highest.
    """
    grey = images.float().mean(1)
    height, width = grey.shape[1:]
    power = torch.fft.fft2(grey - grey.mean((1, 2), keepdim=True)).abs().square() / (height * width)
    smaller = min(height, width)
    y, x = (torch.fft.fftfreq(s, device=images.device) * smaller for s in (height, width))
    radius = torch.hypot(y[:, None], x[None]).round().long().flatten()
    sums = power.new_zeros(len(images), int(radius.max()) + 1).index_add_(
        1, radius, power.flatten(1)
    )
    spectra: Tensor = sums / radius.bincount()
    return spectra[:, 1:]


def histogram(images: Tensor) -> Tensor:
    """Share of the pixels at each of 256 levels, (N, 3, 256)."""
    levels = images.flatten(2).long()
    counts = torch.zeros(*levels.shape[:2], 256, device=images.device)
    return (
        counts.scatter_add_(2, levels, torch.ones_like(levels, dtype=counts.dtype))
        / levels.shape[2]
    )


def thumbnails(images: Tensor) -> Tensor:
    """The images at 32x32, averaged over areas."""
    return F.adaptive_avg_pool2d(images.float(), _THUMBNAIL)


class FunctionExtractor:
    """One of the functions above as an extractor. digest: says with which options."""

    resize = "none"

    def __init__(self, function: Callable[[Tensor], Tensor], digest: str = "") -> None:
        self.function, self.digest = function, digest

    def __call__(self, images: Tensor) -> Tensor:
        return self.function(images)


class RandomNetwork(nn.Module):
    """A convolutional network with fixed random weights: means and deviations at four depths, (N,
    960).

    Such features rank generators much as trained ones do (Lee et al. 2022, arXiv 2208.09218); the
    values depend on the seed, so metrics have it in their names.
    """

    digest, resize = "", "none"

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1)
            for a, b in ((3, 32), (32, 64), (64, 128), (128, 256))
        )
        for conv in self.convs:
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=generator)  # type: ignore[arg-type]
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        x, features = images.float() / 127.5 - 1, list[Tensor]()
        for conv in self.convs:
            x = conv(x).relu()
            features += torch.std_mean(
                x, dim=(2, 3), correction=min(1, x[0, 0].numel() - 1)
            )  # of one value: 0
        return torch.cat(features, dim=1)

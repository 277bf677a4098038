"""Descriptions of images that need no trained network; each takes uint8 images, (N, 3, H, W)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SMALLEST = 16  # pixels of the pyramid's last level
_PATCH = 7
_THUMBNAIL = 32


class Patches:
    """Patches of 7x7 pixels at random places of each level of a Laplacian pyramid.

    (N, levels, patches, 3, 49). The places are the same in every image. total: images in the set;
    128 patches an image, fewer where there are more than 1,024 of them.
    """

    name, digest, resize = "patches", "", "none"

    def __init__(self, total: int) -> None:
        self.count = max(8, min(128, 2**17 // max(total, 1)))

    def __call__(self, images: Tensor) -> Tensor:
        x, levels = images.float(), []
        places = torch.Generator().manual_seed(0)
        while True:
            last = min(x.shape[2:]) < 2 * _SMALLEST
            below = x if last else _halved(x)
            detail = x if last else x - F.interpolate(below, x.shape[2:], mode="bilinear", align_corners=False)
            y, x_ = (torch.randint(s - _PATCH + 1, (self.count,), generator=places).tolist() for s in x.shape[2:])
            cut = [detail[:, :, i : i + _PATCH, j : j + _PATCH].flatten(2) for i, j in zip(y, x_, strict=True)]
            levels.append(torch.stack(cut, dim=1))
            if last:
                return torch.stack(levels, dim=1)
            x = below


def _halved(x: Tensor) -> Tensor:
    row = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=x.device) / 16
    kernel = torch.outer(row, row).expand(x.shape[1], 1, 5, 5)
    return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), kernel, stride=2, groups=x.shape[1])


class RadialSpectrum:
    """Mean power of the grey image at each whole frequency from 1 to half the smaller side."""

    name, digest, resize = "radial_spectrum", "", "none"

    def __call__(self, images: Tensor) -> Tensor:
        grey = images.float().mean(1)
        height, width = grey.shape[1:]
        power = torch.fft.fft2(grey - grey.mean((1, 2), keepdim=True)).abs().square() / (height * width)
        smaller = min(height, width)
        y, x = (torch.fft.fftfreq(s, device=images.device) * smaller for s in (height, width))
        radius = torch.hypot(y[:, None], x[None]).round().long().flatten()
        sums = power.new_zeros(len(images), int(radius.max()) + 1).index_add_(1, radius, power.flatten(1))
        return (sums / radius.bincount())[:, 1 : smaller // 2 + 1]


class Histogram:
    """Share of the pixels at each of 256 levels, (N, 3, 256)."""

    name, digest, resize = "histogram", "", "none"

    def __call__(self, images: Tensor) -> Tensor:
        levels = images.flatten(2).long()
        counts = torch.zeros(*levels.shape[:2], 256, device=images.device)
        return counts.scatter_add_(2, levels, torch.ones_like(levels, dtype=counts.dtype)) / levels.shape[2]


class Thumbnails:
    """The images at 32x32, averaged over areas."""

    name, digest, resize = "thumbnails", "", "area 32x32"

    def __call__(self, images: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(images.float(), _THUMBNAIL)


class RandomNetwork(nn.Module):
    """A convolutional network with fixed random weights: means and deviations at four depths, (N, 960).

    Such features rank generators much as trained ones do (Lee et al. 2022, arXiv 2208.09218); the
    values depend on the seed, so metrics have it in their names.
    """

    digest, resize = "", "none"

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.name = f"random{seed}"
        generator = torch.Generator().manual_seed(seed)
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in ((3, 32), (32, 64), (64, 128), (128, 256))
        )
        for conv in self.convs:
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=generator)  # type: ignore[arg-type]
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        x, features = images.float() / 127.5 - 1, []
        for conv in self.convs:
            x = conv(x).relu()
            features += torch.std_mean(x, dim=(2, 3))
        return torch.cat(features, dim=1)

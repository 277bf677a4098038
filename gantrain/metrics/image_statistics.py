"""Image features that need no trained weights. Each function takes uint8 images, (N, 3, H, W)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantrain.core.own_code import naming_failure

_SMALLEST = 16  # pixels of the pyramid's last level
_PATCH = 7
_THUMBNAIL = 32
_RANDOM_WIDTHS = ((3, 32), (32, 64), (64, 128), (128, 256))  # channels in and out


def patches(images: Tensor, count: int) -> Tensor:
    """Return patches of 7x7 pixels of each level of a Laplacian pyramid.

    The shape is (N, levels, count, 3, 49). The positions are random, but the same in every image.
    All values are NaN for images smaller than a patch.
    """
    if min(images.shape[2:]) < _PATCH:
        shape = (len(images), 1, count, 3, _PATCH**2)
        return images.new_full(shape, torch.nan, dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    levels: list[Tensor] = []
    x = images.float()
    while min(x.shape[2:]) >= 2 * _SMALLEST:
        smaller = _downsampled(x)
        blurred = F.interpolate(smaller, x.shape[2:], mode="bilinear", align_corners=False)
        levels.append(_cut_patches(x - blurred, count, generator))
        x = smaller
    levels.append(_cut_patches(x, count, generator))
    return torch.stack(levels, dim=1)


def _cut_patches(x: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return patches at random positions, (N, count, 3, 49)."""
    height, width = x.shape[2:]
    rows = torch.randint(height - _PATCH + 1, (count,), generator=generator)
    columns = torch.randint(width - _PATCH + 1, (count,), generator=generator)
    windows = x.unfold(2, _PATCH, 1).unfold(3, _PATCH, 1)  # N, 3, rows, columns, 7, 7
    cut = windows[:, :, rows, columns]  # N, 3, count, 7, 7
    return cut.transpose(1, 2).flatten(3)


def _downsampled(x: Tensor) -> Tensor:
    """Blur with a binomial kernel and halve the size."""
    row = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=x.device) / 16
    channels = x.shape[1]
    kernel = torch.outer(row, row).expand(channels, 1, 5, 5)
    padded = F.pad(x, (2, 2, 2, 2), mode="reflect")
    y: Tensor = F.conv2d(padded, kernel, stride=2, groups=channels)
    return y


def radial_spectrum(images: Tensor) -> Tensor:
    """Return the mean power of the grey image at each whole frequency, (N, frequencies).

    The frequencies begin at 1 for each side and end at the highest one of the diagonal.
    """
    grey = images.float().mean(1)
    height, width = grey.shape[1:]
    power = torch.fft.fft2(grey - grey.mean((1, 2), keepdim=True)).abs().square() / (height * width)
    smaller = min(height, width)
    y = torch.fft.fftfreq(height, device=images.device) * smaller
    x = torch.fft.fftfreq(width, device=images.device) * smaller
    radius = torch.hypot(y[:, None], x[None]).round().long().flatten()
    sums = power.new_zeros(len(images), int(radius.max()) + 1)
    sums.index_add_(1, radius, power.flatten(1))
    spectra: Tensor = sums / radius.bincount()
    return spectra[:, 1:]


def histogram(images: Tensor) -> Tensor:
    """Return the fraction of the pixels at each of 256 levels, (N, 3, 256)."""
    levels = images.flatten(2).long()
    counts = torch.zeros(*levels.shape[:2], 256, device=images.device)
    counts.scatter_add_(2, levels, torch.ones_like(levels, dtype=counts.dtype))
    return counts / levels.shape[2]


def thumbnails(images: Tensor) -> Tensor:
    """Return the images at 32x32 pixels, each the mean of an area, (N, 3, 32, 32)."""
    return F.adaptive_avg_pool2d(images.float(), _THUMBNAIL)


class FunctionExtractor:
    """An extractor that applies one of the functions above.

    digest: states the function's options.
    """

    resize = "none"

    def __init__(self, function: Callable[[Tensor], Tensor], digest: str = "") -> None:
        self.function = function
        self.digest = digest

    def __call__(self, images: Tensor) -> Tensor:
        with naming_failure(self.function):
            return self.function(images)


class RandomNetwork(nn.Module):
    """A convolutional network with fixed random weights.

    It returns means and standard deviations at four depths, (N, 960). Such features rank generators
    much as trained ones do (Lee et al. 2022, arXiv 2208.09218). The values depend on the seed, so
    the names of metrics hold it.
    """

    digest = ""
    resize = "none"

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.convs = nn.ModuleList()
        for in_channels, out_channels in _RANDOM_WIDTHS:
            conv = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=generator)
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)
            self.convs.append(conv)

    def forward(self, images: Tensor) -> Tensor:
        x = images.float() / 127.5 - 1
        features: list[Tensor] = []
        for conv in self.convs:
            x = conv(x).relu()
            # The standard deviation of a single value is 0, not NaN.
            correction = min(1, x[0, 0].numel() - 1)
            features += torch.std_mean(x, dim=(2, 3), correction=correction)
        return torch.cat(features, dim=1)

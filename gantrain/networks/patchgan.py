"""Discriminators that judge patches.

Every discriminator gives a list of scales, full resolution first; a scale is the list of its
feature maps after their activations, with the map of logits last.
"""

from collections.abc import Iterable, Sequence
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from gantrain.networks.blocks import Count, Init, Norm, biased, conv, initialise, norm_layers

Outputs = list[list[Tensor]]


def feature_maps(layers: Iterable[nn.Module], x: Tensor) -> list[Tensor]:
    """The output of every layer."""
    maps = []
    for layer in layers:
        x = layer(x)
        maps.append(x)
    return maps


def smallest_input(layers: nn.ModuleList) -> int:
    """Pixels a side from which logits come out and no normalised map is a single pixel."""
    size = 1
    for layer in reversed(cast(Sequence[nn.Sequential], layers)):
        convolution = layer[0]
        assert isinstance(convolution, nn.Conv2d)
        if len(layer) == 3:  # convolution, norm, activation
            size = max(size, 2)
        kernel, stride = convolution.kernel_size[0], convolution.stride[0]
        padding = int(convolution.padding[0])
        size = max((size - 1) * stride + kernel - 2 * padding, 1)
    return size


def check_size(network: nn.Module, images: Tensor, minimum: int) -> None:
    """Raise ValueError where the images are smaller than `minimum` in height or width."""
    height, width = images.shape[-2:]
    if height < minimum or width < minimum:
        raise ValueError(
            f"{type(network).__name__}: images of {height}x{width} are too small, "
            f"it needs {minimum}x{minimum} or more"
        )


def _patch_layers(
    in_channels: int,
    *,
    width: int,
    layers: int,
    norm: Norm,
    padding: int,
    bias: bool,
    spectral: tuple[bool, bool],
) -> nn.ModuleList:
    """The layers of one scale.

    bias: whether the normalised convolutions have one; the others always do.
    spectral: for the first and last convolutions, and for those between.
    """
    outer, inner = spectral
    widths = [width * min(2**i, 8) for i in range(layers + 1)]
    first = conv(in_channels, width, 4, stride=2, padding=padding, bias=True, spectral_norm=outer)
    result = nn.ModuleList([nn.Sequential(first, nn.LeakyReLU(0.2, inplace=True))])
    for i in range(1, layers + 1):
        middle = conv(
            widths[i - 1],
            widths[i],
            4,
            stride=2 if i < layers else 1,
            padding=padding,
            bias=bias,
            spectral_norm=inner,
        )
        norms = norm_layers(norm, widths[i])
        result.append(nn.Sequential(middle, *norms, nn.LeakyReLU(0.2, inplace=True)))
    last = conv(widths[-1], 1, 4, padding=padding, bias=True, spectral_norm=outer)
    result.append(nn.Sequential(last))
    return result


class PatchGAN(nn.Module):
    """The patch discriminator of pix2pix (Isola et al., 2017, arXiv 1611.07004).

    Takes images (N, in_channels, H, W) of `minimum_size` or more; 3 layers judge patches of 70
    pixels (1: 16, 2: 34, 4: 142, 5: 286). Gives one scale: `layers + 1` feature maps, then the
    logits (N, 1, h, w), 30x30 for 256x256. Raises ValueError for smaller images.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        width: Count = 64,
        layers: Count = 3,
        norm: Norm = "batch",
        spectral_norm: bool = False,
        init: Init = "normal",
    ) -> None:
        super().__init__()
        self.layers = _patch_layers(
            in_channels,
            width=width,
            layers=layers,
            norm=norm,
            padding=1,
            bias=biased(norm),
            spectral=(spectral_norm, spectral_norm),
        )
        self.minimum_size = smallest_input(self.layers)
        initialise(self, init)

    def forward(self, images: Tensor) -> Outputs:  # NCHW
        check_size(self, images, self.minimum_size)
        return [feature_maps(self.layers, images)]


class PixelDiscriminator(nn.Module):
    """1x1 convolutions that judge each pixel alone, pix2pix's PixelGAN (arXiv 1611.07004).

    Takes images (N, in_channels, H, W) of `minimum_size` or more. Gives one scale: two feature
    maps, then the logits (N, 1, H, W). Raises ValueError for smaller images.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        width: Count = 64,
        norm: Norm = "batch",
        spectral_norm: bool = False,
        init: Init = "normal",
    ) -> None:
        super().__init__()
        first = conv(in_channels, width, 1, bias=True, spectral_norm=spectral_norm)
        second = conv(width, 2 * width, 1, bias=biased(norm), spectral_norm=spectral_norm)
        last = conv(2 * width, 1, 1, bias=biased(norm), spectral_norm=spectral_norm)
        self.layers = nn.ModuleList(
            [
                nn.Sequential(first, nn.LeakyReLU(0.2, inplace=True)),
                nn.Sequential(
                    second, *norm_layers(norm, 2 * width), nn.LeakyReLU(0.2, inplace=True)
                ),
                nn.Sequential(last),
            ]
        )
        self.minimum_size = smallest_input(self.layers)
        initialise(self, init)

    def forward(self, images: Tensor) -> Outputs:  # NCHW
        check_size(self, images, self.minimum_size)
        return [feature_maps(self.layers, images)]


class MultiscalePatchGAN(nn.Module):
    """Patch discriminators on an image pyramid, of pix2pixHD (Wang et al., 2018, arXiv 1711.11585).

    Takes images (N, in_channels, H, W) of `minimum_size` or more. Gives, for each scale from full
    resolution down, `layers + 1` feature maps and the logits (N, 1, h, w), 35x35 for 256x256.
    With `spectral_norm` it is SPADE's: on the normalised convolutions, which then have no bias.
    Raises ValueError for smaller images.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        scales: Count = 2,
        width: Count = 64,
        layers: Count = 3,
        norm: Norm = "instance",
        spectral_norm: bool = False,
        init: Init = "normal",
        zero_bias: bool = False,
    ) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            _patch_layers(
                in_channels,
                width=width,
                layers=layers,
                norm=norm,
                padding=2,
                bias=not spectral_norm,
                spectral=(False, spectral_norm),
            )
            for _ in range(scales)
        )
        # Halving rounds up, so the last scale has its size from 1 pixel past the one before.
        coarsest = smallest_input(cast(nn.ModuleList, self.scales[0]))
        self.minimum_size = (coarsest - 1) * 2 ** (scales - 1) + 1
        initialise(self, init, zero_bias=zero_bias)

    def forward(self, images: Tensor) -> Outputs:  # NCHW
        check_size(self, images, self.minimum_size)
        outputs: Outputs = []
        for i, layers in enumerate(self.scales):
            if i > 0:
                images = F.avg_pool2d(images, 3, stride=2, padding=1, count_include_pad=False)
            outputs.append(feature_maps(cast(nn.ModuleList, layers), images))
        return outputs

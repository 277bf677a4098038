"""Discriminators that judge patches.

Every discriminator gives a list of scales, full resolution first; a scale is the list of its
feature maps after their activations, with the map of logits last.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from gantrain.networks.blocks import (
    BlurPool,
    Depth,
    Init,
    Layers,
    Level,
    Norm,
    SelfAttention,
    Width,
    initialise,
)

Outputs = list[list[Tensor]]


def _smallest_input(layers: Sequence[nn.Module]) -> int:
    """Pixels a side from which logits come out and no normalised map is a single pixel."""
    size = 1
    for layer in reversed(cast(Sequence[nn.Sequential], layers)):
        conv = cast(nn.Conv2d, layer[0])
        if isinstance(layer[-1], BlurPool):
            size = 2 * size - 1
        if (
            len(layer) > 2
        ):  # convolution, norm, activation; a single pixel can't be reflected either
            size = max(size, 2)
        size = max((size - 1) * conv.stride[0] + conv.kernel_size[0] - 2 * int(conv.padding[0]), 1)
    return size


class Discriminator(nn.Module):
    """For each scale its layers, one after the other, each a Sequential that begins with its
    convolution.
    """

    def __init__(self, *scales: Sequence[nn.Module], init: Init, zero_bias: bool = True) -> None:
        super().__init__()
        self.scales = nn.ModuleList(nn.ModuleList(layers) for layers in scales)
        # Halving rounds up, so the last scale has its size from 1 pixel past the one before.
        self.minimum_size = (_smallest_input(scales[0]) - 1) * 2 ** (len(scales) - 1) + 1
        initialise(self, init, zero_bias=zero_bias)

    @staticmethod
    def scale_factors(names: Iterable[str]) -> dict[str, int]:
        """For the prefix of each scale among the tensors' names, the factor by which it sees
        images down-sampled.
        """
        factors = {}
        for name in names:
            matched = re.match(r"scales\.(\d{1,2})\.", name)
            if matched:
                factors[f"scales.{matched[1]}"] = 2 ** int(matched[1])
        return factors

    def forward(self, images: Tensor) -> Outputs:  # NCHW
        height, width, least = *images.shape[-2:], self.minimum_size
        if height < least or width < least:
            raise ValueError(
                f"{type(self).__name__}: images of {height}x{width} are too small, it needs"
                f" {least}x{least} or more"
            )
        outputs: Outputs = []
        for layers in self.scales:
            if outputs:
                images = F.avg_pool2d(images, 3, stride=2, padding=1, count_include_pad=False)
            maps = [images]
            for layer in cast(nn.ModuleList, layers):
                maps.append(layer(maps[-1]))
            outputs.append(maps[1:])
        return outputs


def _patch_layers(
    outer: Layers,
    inner: Layers,
    in_channels: int,
    width: int,
    layers: int,
    padding: int,
    antialias: bool = False,
    attention: int | None = None,
) -> list[nn.Module]:
    """The layers of one scale; `outer` makes the first and last, `inner` those between."""
    if attention is not None and attention > layers:
        raise ValueError(f"patchgan.attention: found {attention}, allowed: a layer, 0 to {layers}")
    widths = [width * min(2**i, 8) for i in range(layers + 1)]
    made = []
    for i, (before, after) in enumerate(pairwise([in_channels, *widths])):
        make, halves = inner if i else outer, i < layers
        layer = make.leaky(
            make.conv(before, after, 4, 2 if halves and not antialias else 1, padding)
        )
        if i == attention:
            layer.append(SelfAttention(make, after))
        made.append(layer.append(BlurPool()) if halves and antialias else layer)
    return [*made, nn.Sequential(outer.conv(widths[-1], 1, 4, 1, padding))]


class PatchGAN(Discriminator):
    """The patch discriminator of pix2pix (Isola et al., 2017, arXiv 1611.07004).

    Takes images (N, in_channels, H, W) of `minimum_size` or more; 3 layers judge patches of 70
    pixels (1: 16, 2: 34, 4: 142, 5: 286). Gives one scale: `layers + 1` feature maps, then the
    logits (N, 1, h, w), 30x30 for 256x256. With `antialias`, CUT's: it halves by a blur after a
    convolution of stride 1; `attention` adds SAGAN's to the map of that layer, from 0. Raises
    ValueError for smaller images.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        width: Width = 64,
        layers: Depth = 3,
        norm: Norm = "batch",
        spectral_norm: bool = False,
        antialias: bool = False,
        attention: Level | None = None,
        init: Init = "normal",
    ) -> None:
        outer, inner = Layers("none", spectral_norm), Layers(norm, spectral_norm)
        super().__init__(
            _patch_layers(outer, inner, in_channels, width, layers, 1, antialias, attention),
            init=init,
        )


class PixelDiscriminator(Discriminator):
    """1x1 convolutions that judge each pixel alone, pix2pix's PixelGAN (arXiv 1611.07004).

    Takes images (N, in_channels, H, W) of `minimum_size` or more. Gives one scale: two feature
    maps, then the logits (N, 1, H, W). Raises ValueError for smaller images.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        width: Width = 64,
        norm: Norm = "batch",
        spectral_norm: bool = False,
        init: Init = "normal",
    ) -> None:
        make = Layers(norm, spectral_norm)
        first = make.leaky(make.conv(in_channels, width, 1, bias=True), normalised=False)
        second = make.leaky(make.conv(width, 2 * width, 1))
        super().__init__([first, second, nn.Sequential(make.conv(2 * width, 1, 1))], init=init)


class MultiscalePatchGAN(Discriminator):
    """Patch discriminators on an image pyramid, of pix2pixHD (Wang et al., 2018, arXiv 1711.11585).

    Takes images (N, in_channels, H, W) of `minimum_size` or more. Gives, for each scale from full
    resolution down, `layers + 1` feature maps and the logits (N, 1, h, w), 35x35 for 256x256. With
    `spectral_norm` it is SPADE's: on the normalised convolutions, which then have no bias. Raises
    ValueError for smaller images."""

    def __init__(
        self,
        in_channels: int,
        *,
        scales: Depth = 2,
        width: Width = 64,
        layers: Depth = 3,
        norm: Norm = "instance",
        spectral_norm: bool = False,
        init: Init = "normal",
        zero_bias: bool = False,
    ) -> None:
        outer, inner = Layers("none"), Layers(norm, spectral_norm, bias=not spectral_norm)
        pyramid = (
            _patch_layers(outer, inner, in_channels, width, layers, padding=2)
            for _ in range(scales)
        )
        super().__init__(*pyramid, init=init, zero_bias=zero_bias)

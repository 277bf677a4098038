"""The residual generator of CycleGAN, and of CUT."""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantrain.networks.blocks import (
    BlurPool,
    Count,
    Init,
    Layers,
    Norm,
    SelfAttention,
    Share,
    Upsample,
    Width,
    initialise,
    padded,
)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around which the input passes: (N, C, H, W) to the same."""

    def __init__(self, make: Layers, channels: int, dropout: float) -> None:
        super().__init__()

        def conv() -> nn.Module:
            return make.conv(channels, channels, 3, padding=1, padding_mode="reflect")

        self.first = make.relu(conv(), channels, dropout)
        self.second = nn.Sequential(conv(), *make.norms(channels))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.first(x))
        return x + y


class ResNet(nn.Module):
    """Two down-samplings, residual blocks, two up-samplings: Johnson et al.'s, as in CycleGAN.

    Takes images (N, in_channels, H, W) in [-1, 1] of any size and gives (N, out_channels, H, W) in
    [-1, 1]. The paper (Zhu et al., 2017, arXiv 1703.10593) has 9 blocks from 256 pixels on, 6 for
    128. `multiple` is 4.

    CUT's anti-aliased generator has `antialias` on, which halves by a blur after a convolution of
    stride 1, and `upsample: bilinear`, which is an up-sampling and a blur by [1, 3, 3, 1].
    `feature_channels` are the channels of the layers that `features` knows. `attention` adds
    SAGAN's behind the blocks."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: Width = 64,
        blocks: Count = 9,
        norm: Norm = "instance",
        dropout: Share = 0.0,
        spectral_norm: bool = False,
        upsample: Upsample = "transpose",
        antialias: bool = False,
        attention: bool = False,
        init: Init = "normal",
    ) -> None:
        super().__init__()
        self.multiple = 4
        # A quarter of 8 is the smallest map that a block can reflect by one pixel.
        self.padded_minimum = 8
        self.feature_channels = {"image": in_channels, "down0": 2 * width, "down1": 4 * width}
        self.feature_channels |= {f"block{i}": 4 * width for i in range(blocks)}
        make = Layers(norm, spectral_norm, upsample)
        first = make.conv(in_channels, width, 7, padding=3, padding_mode="reflect")
        self.first = make.relu(first, width)
        stride, blurs = (1, [BlurPool()]) if antialias else (2, [])
        self.downs = nn.ModuleList(
            nn.Sequential(*make.relu(make.conv(c, 2 * c, 3, stride, padding=1), 2 * c), *blurs)
            for c in (width, 2 * width)
        )
        self.blocks = nn.ModuleList(ResidualBlock(make, 4 * width, dropout) for _ in range(blocks))
        self.attention = SelfAttention(make, 4 * width) if attention else nn.Identity()
        self.ups = nn.ModuleList(
            make.relu(make.up_conv(2 * c, c, 3), c) for c in (2 * width, width)
        )
        self.last = make.conv(width, out_channels, 7, padding=3, bias=True, padding_mode="reflect")
        initialise(self, init)

    def forward(self, images: Tensor) -> Tensor:  # NCHW -> NCHW
        return padded(self._translate, images, self.multiple, minimum=self.padded_minimum)

    def features(self, images: Tensor, layers: Sequence[str]) -> list[Tensor]:
        """Feature maps (N, C, h, w) of images (N, in_channels, H, W), one for each of `layers`;
        runs no more blocks.

        image: the images as the first convolution sees them, with 3 pixels reflected at the border;
        down0, down1: the down-samplings' convolutions, before norm, ReLU and blur; block0 and so
        on: what a residual block gives. CUT's layers 0, 4, 8, 12 and 16 are image, down0, down1,
        block0 and block4. Raises KeyError for an unknown one."""
        found = {"image": F.pad(images, (3, 3, 3, 3), mode="reflect")}
        x = self.first(images)
        for i, down in enumerate(self.downs):
            conv, *others = cast(nn.Sequential, down)
            x = found[f"down{i}"] = conv(x)
            for layer in others:
                x = layer(x)
        for i, block in enumerate(self.blocks):
            if found.keys() >= set(layers):
                break
            x = found[f"block{i}"] = block(x)
        return [found[name] for name in layers]

    def _translate(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for layer in [*self.downs, *self.blocks, self.attention, *self.ups]:
            x = layer(x)
        return torch.tanh(self.last(x))

"""The residual generator of CycleGAN."""

import torch
from torch import Tensor, nn

from gantrain.networks.blocks import (
    Count,
    Init,
    Norm,
    Probability,
    Upsample,
    at_multiple,
    biased,
    conv,
    dropout_layers,
    initialise,
    norm_layers,
    up_conv,
)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around which the input passes: (N, C, H, W) to the same."""

    def __init__(
        self, channels: int, *, norm: Norm, dropout: float = 0.0, spectral_norm: bool = False
    ) -> None:
        super().__init__()

        def convolution() -> list[nn.Module]:
            layer = conv(
                channels,
                channels,
                3,
                padding=1,
                padding_mode="reflect",
                bias=biased(norm),
                spectral_norm=spectral_norm,
            )
            return [layer, *norm_layers(norm, channels)]

        self.first = nn.Sequential(*convolution(), nn.ReLU(inplace=True), *dropout_layers(dropout))
        self.second = nn.Sequential(*convolution())

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.first(x))
        return x + y


class ResNet(nn.Module):
    """Two halvings, residual blocks, two doublings: Johnson et al.'s, as in CycleGAN.

    Takes images (N, in_channels, H, W) in [-1, 1] of any size and gives (N, out_channels, H, W) in
    [-1, 1]. The paper (Zhu et al., 2017, arXiv 1703.10593) has 9 blocks from 256 pixels on, 6 for
    128. `multiple` is 4.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: Count = 64,
        blocks: Count = 9,
        norm: Norm = "instance",
        dropout: Probability = 0.0,
        spectral_norm: bool = False,
        upsample: Upsample = "transpose",
        init: Init = "normal",
    ) -> None:
        super().__init__()
        self.multiple = 4
        bias = biased(norm)

        def after(layer: nn.Module, channels: int) -> nn.Sequential:
            return nn.Sequential(layer, *norm_layers(norm, channels), nn.ReLU(inplace=True))

        def wide(before: int, channels: int, bias: bool) -> nn.Module:
            return conv(
                before,
                channels,
                7,
                padding=3,
                padding_mode="reflect",
                bias=bias,
                spectral_norm=spectral_norm,
            )

        self.first = after(wide(in_channels, width, bias), width)
        self.downs = nn.ModuleList()
        for c in (width, 2 * width):
            down = conv(c, 2 * c, 3, stride=2, padding=1, bias=bias, spectral_norm=spectral_norm)
            self.downs.append(after(down, 2 * c))
        self.blocks = nn.ModuleList(
            ResidualBlock(4 * width, norm=norm, dropout=dropout, spectral_norm=spectral_norm)
            for _ in range(blocks)
        )
        self.ups = nn.ModuleList()
        for c in (2 * width, width):
            up = up_conv(2 * c, c, 3, upsample=upsample, bias=bias, spectral_norm=spectral_norm)
            self.ups.append(after(up, c))
        self.last = wide(width, out_channels, True)
        initialise(self, init)

    def forward(self, images: Tensor) -> Tensor:  # NCHW -> NCHW
        # A quarter of 8 is the smallest map that a block can reflect by one pixel.
        return at_multiple(self._translate, images, self.multiple, minimum=8)

    def _translate(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for layer in [*self.downs, *self.blocks, *self.ups]:
            x = layer(x)
        return torch.tanh(self.last(x))

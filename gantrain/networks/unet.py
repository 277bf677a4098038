"""The U-Net generator of pix2pix."""

from itertools import pairwise
from typing import Annotated, Literal, get_args

import torch
from pydantic import Field
from torch import Tensor, nn

from gantrain.core.errors import UserError
from gantrain.networks.blocks import (
    Fraction,
    Init,
    Layers,
    Level,
    Norm,
    SelfAttention,
    Upsample,
    Width,
    check_choice,
    initialise,
    padded,
)
from gantrain.networks.protocol import Generator

DropoutFrom = Literal["innermost", "second"]


class UNet(Generator):
    """The U-Net generator of pix2pix (Isola et al., 2017, arXiv 1611.07004).

    It is an encoder and a decoder with skip connections. It takes images (N, in_channels, H, W) in
    [-1, 1] of any size and returns (N, out_channels, H, W) in [-1, 1]. Each level halves the size,
    so that 8 levels reduce 256 pixels to one. `multiple` is 2**levels.

    Args:
        width: The number of channels of the first layer. Deeper layers have a multiple of it.
        levels: The number of levels.
        norm: The kind of normalisation.
        dropout: The probability with which dropout sets a value to 0. `levels - 5` layers of the
            decoder end with dropout.
        dropout_from: The first of the layers with dropout. `innermost` is the first layer of the
            decoder, as in the authors' Torch code. `second` is the layer after it, as in their
            PyTorch code.
        spectral_norm: Normalises the weights of the convolutions by spectral norm.
        upsample: How the size is doubled: by a transposed convolution, or by a resize (`nearest`,
            `bilinear`) and a convolution. The resize avoids a grid in the images.
        attention: The level of the encoder, from 0, to whose map self-attention is added. null adds
            none.
        init: The distribution of the first weights: `normal` is N(0, 0.02) as in pix2pix, `xavier`
            has a gain of 0.02 as in SPADE, `kaiming` suits ReLU, and `default` is that of PyTorch.

    Raises:
        UserError: `attention` names a level that does not exist.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: Width = 64,
        levels: Annotated[int, Field(ge=2, le=12)] = 8,
        norm: Norm = "batch",
        dropout: Fraction = 0.5,
        dropout_from: DropoutFrom = "innermost",
        spectral_norm: bool = False,
        upsample: Upsample = "transpose",
        attention: Level | None = None,
        init: Init = "normal",
    ) -> None:
        super().__init__()
        if attention is not None and attention >= levels:
            raise UserError(
                f"unet.attention: found {attention}, allowed: a level, 0 to {levels - 1}"
            )
        check_choice("dropout_from", dropout_from, DropoutFrom)
        self.multiple = 2**levels
        widths = [width * min(2**level, 8) for level in range(levels)]
        innermost = levels - 1
        make = Layers(norm, spectral_norm, upsample)

        self.downs = nn.ModuleList()  # outermost first
        for level, (before, after) in enumerate(pairwise([in_channels, *widths])):
            layers: list[nn.Module] = []
            if level > 0:
                layers.append(nn.LeakyReLU(0.2))
            layers.append(make.conv(before, after, 4, stride=2, padding=1))
            # The innermost map may be a single pixel, which a norm would erase.
            if 0 < level < innermost:
                layers += make.norms(after)
            if level == attention:
                layers.append(SelfAttention(make, after))
            self.downs.append(nn.Sequential(*layers))

        first_dropout = get_args(DropoutFrom).index(dropout_from)
        layers_with_dropout = range(first_dropout, first_dropout + levels - 5)
        self.ups = nn.ModuleList()  # innermost first
        for level in reversed(range(1, levels)):
            # All but the innermost layer get the skip as well.
            before = widths[level] if level == innermost else 2 * widths[level]
            after = widths[level - 1]
            layers = [nn.ReLU(), make.up_conv(before, after, 4), *make.norms(after)]
            if dropout and len(self.ups) in layers_with_dropout:
                layers.append(nn.Dropout(dropout))
            self.ups.append(nn.Sequential(*layers))
        last = make.up_conv(2 * width, out_channels, 4, bias=True)
        self.ups.append(nn.Sequential(nn.ReLU(), last))
        initialise(self, init)

    def forward(self, images: Tensor) -> Tensor:  # NCHW -> NCHW
        return padded(self._translate, images, self.multiple)

    def _translate(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for down in self.downs:
            x = down(x)
            skips.append(x)
        x = skips.pop()
        for up in self.ups:
            x = up(x)
            if skips:
                # The skip comes first, as in the peers' checkpoints.
                x = torch.cat([skips.pop(), x], 1)
        return torch.tanh(x)

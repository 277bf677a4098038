"""The U-Net generator of pix2pix."""

from typing import Annotated

import torch
from pydantic import Field
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


class UNet(nn.Module):
    """Encoder and decoder with skips, of pix2pix (Isola et al., 2017, arXiv 1611.07004).

    Takes images (N, in_channels, H, W) in [-1, 1] of any size and gives (N, out_channels, H, W) in
    [-1, 1]. Every level halves the size: 8 levels see 256 pixels as one, `multiple` is 2**levels.
    Dropout is in the decoder's `levels - 5` innermost levels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: Count = 64,
        levels: Annotated[int, Field(ge=2, le=12)] = 8,
        norm: Norm = "batch",
        dropout: Probability = 0.5,
        spectral_norm: bool = False,
        upsample: Upsample = "transpose",
        init: Init = "normal",
    ) -> None:
        super().__init__()
        self.multiple = 2**levels
        widths = [width * min(2**level, 8) for level in range(levels)]
        innermost = levels - 1
        bias = biased(norm)

        self.downs = nn.ModuleList()
        for level, (before, after) in enumerate(
            zip([in_channels, *widths[:-1]], widths, strict=True)
        ):
            layers: list[nn.Module] = [nn.LeakyReLU(0.2)] if level > 0 else []
            layers += [
                conv(before, after, 4, stride=2, padding=1, bias=bias, spectral_norm=spectral_norm)
            ]
            # The innermost map may be a single pixel, which a norm would erase.
            if 0 < level < innermost:
                layers += norm_layers(norm, after)
            self.downs.append(nn.Sequential(*layers))

        self.ups = nn.ModuleList()  # innermost first
        for level in reversed(range(levels)):
            last = level == 0
            before = widths[level] if level == innermost else 2 * widths[level]
            after = out_channels if last else widths[level - 1]
            up = up_conv(
                before,
                after,
                4,
                upsample=upsample,
                bias=bias or last,
                spectral_norm=spectral_norm,
            )
            layers = [nn.ReLU(), up]
            if not last:
                layers += norm_layers(norm, after)
            if innermost - level < levels - 5:
                layers += dropout_layers(dropout)
            self.ups.append(nn.Sequential(*layers))
        initialise(self, init)

    def forward(self, images: Tensor) -> Tensor:  # NCHW -> NCHW
        return at_multiple(self._translate, images, self.multiple)

    def _translate(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for down in self.downs:
            x = down(x)
            skips.append(x)
        x = skips.pop()
        for up in self.ups:
            x = up(x)
            if skips:
                # Skip first, as in the peers' checkpoints.
                x = torch.cat([skips.pop(), x], 1)
        return torch.tanh(x)

"""The survey's small networks: a generator without skips, a discriminator of the whole image."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from gantrain.networks.blocks import Init, Layers, Norm, Share, Upsample, Widths, initialise, padded
from gantrain.networks.patchgan import Discriminator

WIDTHS = (64, 128, 256, 512)


def _downsampling(make: Layers, in_channels: int, widths: Sequence[int]) -> list[nn.Module]:
    """4x4 convolutions of stride 2, all but the first normalised."""
    return [
        make.leaky(make.conv(before, after, 4, 2, padding=1), normalised=i > 0)
        for i, (before, after) in enumerate(pairwise([in_channels, *widths]))
    ]


class EncoderDecoder(nn.Module):
    """Down-sampling to the widths and back, without skips.

    Takes images (N, in_channels, H, W) in [-1, 1] of any size and gives (N, out_channels, H, W) in
    [-1, 1]. All layers but the first and last are normalised. `multiple` is 2**len(widths).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        widths: Widths = WIDTHS,
        norm: Norm = "batch",
        dropout: Share = 0.0,
        spectral_norm: bool = False,
        upsample: Upsample = "transpose",
        init: Init = "normal",
    ) -> None:
        super().__init__()
        self.multiple = 2 ** len(widths)
        self.padded_minimum = 2 * self.multiple
        make = Layers(norm, spectral_norm, upsample)
        self.downs = nn.ModuleList(_downsampling(make, in_channels, widths))
        self.ups = nn.ModuleList(
            make.relu(make.up_conv(before, after, 4), after, dropout)
            for before, after in pairwise(widths[::-1])
        )
        self.last = make.up_conv(widths[0], out_channels, 4)
        initialise(self, init)

    def forward(self, images: Tensor) -> Tensor:  # NCHW -> NCHW
        # The innermost map is normalised, and a norm would erase a single pixel.
        return padded(self._translate, images, self.multiple, minimum=self.padded_minimum)

    def _translate(self, x: Tensor) -> Tensor:
        for layer in [*self.downs, *self.ups]:
            x = layer(x)
        return torch.tanh(self.last(x))


class WholeImageDiscriminator(Discriminator):
    """Down-sampling to a 4x4 map, and one convolution of it all to a score.

    Takes images (N, in_channels, H, W) of `minimum_size` (64) or more. Gives one scale: the feature
    maps, then the logits (N, 1, h, w), a single score at `minimum_size` and a map beyond it. Raises
    ValueError for smaller images."""

    def __init__(
        self,
        in_channels: int,
        *,
        widths: Widths = WIDTHS,
        norm: Norm = "batch",
        spectral_norm: bool = False,
        init: Init = "normal",
    ) -> None:
        make = Layers(norm, spectral_norm)
        downsampling = _downsampling(make, in_channels, widths)
        super().__init__([*downsampling, nn.Sequential(make.conv(widths[-1], 1, 4))], init=init)

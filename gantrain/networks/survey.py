"""The survey's small networks: a generator without skips, a discriminator of the whole image."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from gantrain.networks.blocks import (
    Fraction,
    Init,
    Layers,
    Norm,
    Upsample,
    Widths,
    initialise,
    padded,
)
from gantrain.networks.patchgan import Discriminator

WIDTHS = (64, 128, 256, 512)


def _down_convs(make: Layers, in_channels: int, widths: Sequence[int]) -> list[nn.Module]:
    """Build a 4x4 convolution of stride 2 for each width. All but the first are normalised."""
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(pairwise([in_channels, *widths])):
        conv = make.conv(before, after, 4, stride=2, padding=1)
        layers.append(make.leaky(conv, normalised=i > 0))
    return layers


class EncoderDecoder(nn.Module):
    """Down-sampling to the widths and up-sampling back, without skips.

    Takes images (N, in_channels, H, W) in [-1, 1] of any size and gives (N, out_channels, H, W) in
    [-1, 1]. All layers but the first and last are normalised. `multiple` is 2**len(widths).

    Args:
        widths: The number of channels of each layer of the encoder. Each layer halves the size.
        norm: The normalisation between the layers.
        dropout: The fraction of values that dropout sets to 0.
        spectral_norm: Whether the convolutions have spectral norm.
        upsample: How the size is doubled: by a transposed convolution, or by a resize (nearest or
            bilinear) and a convolution. The resize avoids a grid in the images.
        init: How the first weights are drawn: normal is pix2pix's N(0, 0.02), xavier is SPADE's
            with gain 0.02, kaiming is for ReLU, and default is PyTorch's.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        widths: Widths = WIDTHS,
        norm: Norm = "batch",
        dropout: Fraction = 0.0,
        spectral_norm: bool = False,
        upsample: Upsample = "transpose",
        init: Init = "normal",
    ) -> None:
        super().__init__()
        self.multiple = 2 ** len(widths)
        # The innermost map is normalised, and a norm would erase a single pixel.
        self.padded_minimum = 2 * self.multiple
        make = Layers(norm, spectral_norm, upsample)
        self.downs = nn.ModuleList(_down_convs(make, in_channels, widths))
        self.ups = nn.ModuleList(
            make.relu(make.up_conv(before, after, 4), after, dropout)
            for before, after in pairwise(widths[::-1])
        )
        self.last = make.up_conv(widths[0], out_channels, 4)
        initialise(self, init)

    def forward(self, images: Tensor) -> Tensor:  # NCHW -> NCHW
        return padded(self._translate, images, self.multiple, minimum=self.padded_minimum)

    def _translate(self, x: Tensor) -> Tensor:
        for layer in [*self.downs, *self.ups]:
            x = layer(x)
        return torch.tanh(self.last(x))


class WholeImageDiscriminator(Discriminator):
    """Down-sampling to a 4x4 map, and one convolution of the whole map to a score.

    Takes images (N, in_channels, H, W) of `minimum_size` (64) or more. Gives one scale: the feature
    maps, then the logits (N, 1, h, w), a single score at `minimum_size` and a map beyond it. Raises
    UserError for smaller images.

    Args:
        widths: The number of channels of each layer. Each layer halves the size.
        norm: The normalisation between the layers.
        spectral_norm: Whether the convolutions have spectral norm.
        init: How the first weights are drawn: normal is pix2pix's N(0, 0.02), xavier is SPADE's
            with gain 0.02, kaiming is for ReLU, and default is PyTorch's.
    """

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
        features = _down_convs(make, in_channels, widths)
        logits = nn.Sequential(make.conv(widths[-1], 1, 4))
        super().__init__([*features, logits], init=init)

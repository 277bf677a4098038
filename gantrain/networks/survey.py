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
from gantrain.networks.patchgan import LayeredDiscriminator
from gantrain.networks.protocol import Generator

WIDTHS = (64, 128, 256, 512)


def _down_convs(make: Layers, in_channels: int, widths: Sequence[int]) -> list[nn.Module]:
    """Build a 4x4 convolution of stride 2 for each width. All but the first are normalised."""
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(pairwise([in_channels, *widths])):
        conv = make.conv(before, after, 4, stride=2, padding=1)
        layers.append(make.leaky(conv, normalised=i > 0))
    return layers


class EncoderDecoder(Generator):
    """An encoder-decoder without skip connections.

    It takes images (N, in_channels, H, W) in [-1, 1] of any size and returns (N, out_channels, H,
    W) in [-1, 1]. All layers but the first and the last are normalised. `multiple` is
    2**len(widths).

    Args:
        widths: The numbers of channels of the encoder's layers, each of which halves the size. The
            decoder has the same numbers in reverse.
        norm: The kind of normalisation.
        dropout: The probability with which dropout sets a value to 0, in each layer of the decoder
            but the last.
        spectral_norm: Normalises the weights of the convolutions by spectral norm.
        upsample: How the size is doubled: by a transposed convolution, or by a resize (`nearest`,
            `bilinear`) and a convolution. The resize avoids a grid in the images.
        init: The distribution of the first weights: `normal` is N(0, 0.02) as in pix2pix, `xavier`
            has a gain of 0.02 as in SPADE, `kaiming` suits ReLU, and `default` is that of PyTorch.
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


class WholeImageDiscriminator(LayeredDiscriminator):
    """A discriminator that gives one score for the whole image.

    It down-samples to a 4x4 map, and one convolution covers this map. It takes images (N,
    in_channels, H, W) of `minimum_size` (64) or more. It returns one scale: the feature maps, then
    the logits (N, 1, h, w), which are a single score at `minimum_size` and a map for larger images.

    Args:
        widths: The numbers of channels of the layers, each of which halves the size.
        norm: The kind of normalisation.
        spectral_norm: Normalises the weights of the convolutions by spectral norm.
        init: The distribution of the first weights: `normal` is N(0, 0.02) as in pix2pix, `xavier`
            has a gain of 0.02 as in SPADE, `kaiming` suits ReLU, and `default` is that of PyTorch.

    Raises:
        UserError: The images are smaller than `minimum_size`.
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

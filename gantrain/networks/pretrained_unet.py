"""A U-Net whose encoder is a network that was trained for another task."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from gantrain.core.errors import UserError
from gantrain.networks.backbone import Backbone
from gantrain.networks.blocks import (
    Fraction,
    Init,
    Layers,
    Norm,
    Upsample,
    Width,
    initialise,
    padded,
)
from gantrain.networks.protocol import Generator


class PretrainedUNet(Generator):
    """A U-Net whose encoder is one of timm's networks. It helps where data are few.

    Ronneberger et al., 2015 (arXiv 1505.04597). It takes images (N, in_channels, H, W) in [-1, 1],
    or one-hot class ids, of any size and returns (N, out_channels, H, W) in [-1, 1]. The decoder
    doubles the size from the encoder's coarsest map up to full size. `multiple` is the reduction of
    that map. At each size, the maps of the encoder and of the decoder are concatenated, and dropout
    follows. `load()` reads or downloads the encoder's weights.

    Args:
        backbone: The name of a network of timm.
        pretrained: Gives the encoder its pretrained weights. Otherwise they are random.
        weights: A file of pretrained weights. null downloads the weights of timm.
        width: The number of channels of the decoder at full size. Each coarser level has twice as
            many, up to 8 times `width`.
        norm: The kind of normalisation in the decoder.
        dropout: The probability with which dropout sets a value to 0.
        upsample: How the size is doubled: by a transposed convolution, or by a resize (`nearest`,
            `bilinear`) and a convolution. The resize avoids a grid in the images.
        init: The distribution of the decoder's first weights: `normal` is N(0, 0.02) as in pix2pix,
            `xavier` has a gain of 0.02 as in SPADE, `kaiming` suits ReLU, and `default` is that of
            PyTorch.

    Raises:
        UserError: A map of `backbone` is not half as large as the map before it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        backbone: str = "resnet34",
        pretrained: bool = True,
        weights: str | None = None,
        width: Width = 32,
        norm: Norm = "instance",
        dropout: Fraction = 0.0,
        upsample: Upsample = "nearest",
        init: Init = "normal",
    ) -> None:
        super().__init__()
        self.encoder = Backbone(backbone, in_channels, pretrained, weights)
        _check_halves(self.encoder, backbone)
        self.multiple = self.encoder.reductions[-1]
        skip_channels = dict(zip(self.encoder.reductions, self.encoder.channels, strict=True))
        make = Layers(norm, upsample=upsample)
        self.ups = nn.ModuleList()  # coarsest first
        self.joins = nn.ModuleList()
        levels = self.multiple.bit_length() - 1  # how often the size doubles
        before = self.encoder.channels[-1]
        for level in reversed(range(levels)):
            reduction = 2**level  # of the map that this level makes
            after = width * min(reduction, 8)
            self.ups.append(make.relu(make.up_conv(before, after, 4), after))
            joined = after + skip_channels.get(reduction, 0)
            join = make.conv(joined, after, 3, padding=1)
            self.joins.append(make.relu(join, after, dropout))
            before = after
        self.last = make.conv(before, out_channels, 3, padding=1, bias=True)
        for decoder in (self.ups, self.joins, self.last):
            initialise(decoder, init)

    def load(self) -> None:
        """Read or fetch the encoder's weights. Raises UserError where they cannot be had."""
        self.encoder.load()

    def forward(self, images: Tensor) -> Tensor:  # NCHW -> NCHW
        return padded(self._translate, images, self.multiple)

    def _translate(self, images: Tensor) -> Tensor:
        *skips, x = self.encoder(images)
        for up, join in zip(self.ups, self.joins, strict=True):
            x = up(x)
            if skips and skips[-1].shape[-2:] == x.shape[-2:]:
                x = torch.cat([skips.pop(), x], 1)
            x = join(x)
        return torch.tanh(self.last(x))


def _check_halves(encoder: Backbone, name: str) -> None:
    """Raise UserError unless each map of the encoder has its reduction, a power of 2, in fact."""
    reductions = encoder.reductions
    multiple = reductions[-1]
    height = 4 * multiple
    map_sizes = encoder.shapes(height, height + multiple)
    map_heights = [map_height for map_height, _ in map_sizes]
    are_powers_of_2 = all(reduction.bit_count() == 1 for reduction in reductions)
    are_increasing = all(finer < coarser for finer, coarser in pairwise(reductions))
    expected_heights = [height // reduction for reduction in reductions]
    if are_powers_of_2 and are_increasing and map_heights == expected_heights:
        return
    raise UserError(
        f"pretrained_unet.backbone: found {name}, whose maps of images {height} high are"
        f" {', '.join(map(str, map_heights))} high; allowed: a network that halves them"
    )

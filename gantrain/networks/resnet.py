"""The residual generator of CycleGAN and of CUT."""

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantrain.networks.blocks import (
    BlurPool,
    Count,
    Fraction,
    Init,
    Layers,
    Norm,
    SelfAttention,
    Upsample,
    Width,
    initialise,
    padded,
)
from gantrain.networks.protocol import Generator


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a residual connection, (N, C, H, W) to the same."""

    def __init__(self, make: Layers, channels: int, dropout: float) -> None:
        super().__init__()

        def conv() -> nn.Module:
            return make.conv(channels, channels, 3, padding=1, padding_mode="reflect")

        self.first = make.relu(conv(), channels, dropout)
        self.second = nn.Sequential(conv(), *make.norms(channels))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.first(x))
        return x + y


class ResNet(Generator):
    """The residual generator of CycleGAN and CUT: down-sampling, residual blocks, up-sampling.

    Johnson et al., 2016 (arXiv 1603.08155). It takes images (N, in_channels, H, W) in [-1, 1] of
    any size and returns (N, out_channels, H, W) in [-1, 1]. `multiple` is 4. CycleGAN (Zhu et al.,
    2017, arXiv 1703.10593) has 9 blocks for 256 pixels or more, and 6 for 128.

    The generator of CUT has `antialias` and `upsample: bilinear`. A bilinear resize equals a
    doubling and a blur by [1, 3, 3, 1]. `feature_channels` holds the channels of the layers that
    `features` returns, by name. `forward` takes such names, too, and then returns the features with
    the images.

    Args:
        width: The number of channels of the first layer. Deeper layers have a multiple of it.
        blocks: The number of residual blocks.
        norm: The kind of normalisation.
        dropout: The probability with which dropout sets a value to 0, in each residual block.
        spectral_norm: Normalises the weights of the convolutions by spectral norm.
        upsample: How the size is doubled: by a transposed convolution, or by a resize (`nearest`,
            `bilinear`) and a convolution. The resize avoids a grid in the images.
        antialias: Down-samples by a blur after a convolution of stride 1, instead of by a
            convolution of stride 2.
        attention: Adds self-attention after the residual blocks.
        init: The distribution of the first weights: `normal` is N(0, 0.02) as in pix2pix, `xavier`
            has a gain of 0.02 as in SPADE, `kaiming` suits ReLU, and `default` is that of PyTorch.
    """

    forward_takes_layers = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: Width = 64,
        blocks: Count = 9,
        norm: Norm = "instance",
        dropout: Fraction = 0.0,
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
        inner = 4 * width
        self.feature_channels = {"image": in_channels, "down0": 2 * width, "down1": inner}
        for i in range(blocks):
            self.feature_channels[f"block{i}"] = inner
        make = Layers(norm, spectral_norm, upsample)

        first = make.conv(in_channels, width, 7, padding=3, padding_mode="reflect")
        self.first = make.relu(first, width)
        self.downs = nn.ModuleList()
        for channels in (width, 2 * width):
            stride = 1 if antialias else 2
            conv = make.conv(channels, 2 * channels, 3, stride=stride, padding=1)
            down = make.relu(conv, 2 * channels)
            if antialias:
                down.append(BlurPool())
            self.downs.append(down)
        self.blocks = nn.ModuleList(ResidualBlock(make, inner, dropout) for _ in range(blocks))
        self.attention = SelfAttention(make, inner) if attention else nn.Identity()
        self.ups = nn.ModuleList()
        for channels in (2 * width, width):
            up = make.up_conv(2 * channels, channels, 3)
            self.ups.append(make.relu(up, channels))
        self.last = make.conv(width, out_channels, 7, padding=3, bias=True, padding_mode="reflect")
        initialise(self, init)

    def forward(
        self, images: Tensor, layers: Sequence[str] | None = None
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        """Return images (N, out_channels, H, W) in [-1, 1].

        layers: return the images and the features of these layers, as `features` returns them.
        Height and width are then multiples of `multiple`, and at least `padded_minimum`.
        """
        if layers is None:
            return padded(self._translate, images, self.multiple, minimum=self.padded_minimum)
        x, maps = self._encode(images, self.blocks)
        return self._decode(x), [maps[name] for name in layers]

    def features(self, images: Tensor, layers: Sequence[str]) -> list[Tensor]:
        """Return the feature maps (N, C, h, w) of images (N, in_channels, H, W), by `layers`.

        image: the images as the first convolution sees them, with 3 pixels reflected at the border.
        down0, down1: the outputs of the down-sampling convolutions, before norm, ReLU and blur.
        block0 and so on: the outputs of the residual blocks. CUT's layers 0, 4, 8, 12 and 16 are
        image, down0, down1, block0 and block4. Blocks behind the last one of `layers` are not
        computed. Raises KeyError for an unknown layer.
        """
        needed = 0
        for i in range(len(self.blocks)):
            if f"block{i}" in layers:
                needed = i + 1
        maps = self._encode(images, self.blocks[:needed])[1]
        return [maps[name] for name in layers]

    def _translate(self, images: Tensor) -> Tensor:
        x = self.first(images)
        for layer in [*self.downs, *self.blocks]:
            x = layer(x)
        return self._decode(x)

    def _encode(
        self, images: Tensor, blocks: Iterable[nn.Module]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the output of the last block, and the features by layer."""
        maps = {"image": F.pad(images, (3, 3, 3, 3), mode="reflect")}
        x = self.first(images)
        for i, down in enumerate(self.downs):
            assert isinstance(down, nn.Sequential)
            conv, *following = down
            x = conv(x)
            maps[f"down{i}"] = x
            for layer in following:
                x = layer(x)
        for i, block in enumerate(blocks):
            x = block(x)
            maps[f"block{i}"] = x
        return x, maps

    def _decode(self, x: Tensor) -> Tensor:
        """Return images of the last block's output."""
        for layer in [self.attention, *self.ups]:
            x = layer(x)
        return torch.tanh(self.last(x))

"""The generators of pix2pixHD: the global generator, and the local enhancer around it."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantrain.networks.blocks import (
    Count,
    Depth,
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
from gantrain.networks.resnet import ResidualBlock


class CoarseToFine(Generator):
    """The global generator of pix2pixHD: down-sampling, residual blocks, up-sampling.

    Wang et al., 2018 (arXiv 1711.11585). It takes images (N, in_channels, H, W) of any size and
    returns (N, out_channels, H, W) in [-1, 1]. As in pix2pixHD, every convolution has a bias,
    whatever the norm. `multiple` is 2**downsampling, and twice that with `enhancer`.

    Args:
        width: The number of channels of the global generator's first layer. Deeper layers have a
            multiple of it.
        downsampling: How often the size is halved.
        blocks: The number of residual blocks.
        enhancer: Adds the local enhancer of pix2pixHD, for 1024x2048. The global generator then
            sees the image at half of its size, and layers of half the width add the details.
        fine_blocks: The number of residual blocks of the local enhancer.
        norm: The kind of normalisation.
        dropout: The probability with which dropout sets a value to 0, in each residual block.
        spectral_norm: Normalises the weights of the convolutions by spectral norm.
        upsample: How the size is doubled: by a transposed convolution, or by a resize (`nearest`,
            `bilinear`) and a convolution. The resize avoids a grid in the images.
        init: The distribution of the first weights: `normal` is N(0, 0.02) as in pix2pix, `xavier`
            has a gain of 0.02 as in SPADE, `kaiming` suits ReLU, and `default` is that of PyTorch.
        zero_bias: Starts the biases at 0. Otherwise they keep the random values of PyTorch, as in
            pix2pixHD.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: Width = 64,
        downsampling: Depth = 4,
        blocks: Count = 9,
        enhancer: bool = False,
        fine_blocks: Count = 3,
        norm: Norm = "instance",
        dropout: Fraction = 0.0,
        spectral_norm: bool = False,
        upsample: Upsample = "transpose",
        init: Init = "normal",
        zero_bias: bool = False,
    ) -> None:
        super().__init__()
        self.multiple = 2 ** (downsampling + enhancer)
        # The smallest map that a block can reflect by one pixel has two a side.
        self.padded_minimum = 2 * self.multiple
        make = Layers(norm, spectral_norm, upsample, bias=True)

        def down(width: int, times: int) -> Iterator[nn.Module]:
            """Build a convolution to `width` channels, and down-sampling that doubles them."""
            first = make.conv(in_channels, width, 7, padding=3, padding_mode="reflect")
            yield make.relu(first, width)
            for i in range(times):
                channels = width * 2**i
                conv = make.conv(channels, 2 * channels, 3, stride=2, padding=1)
                yield make.relu(conv, 2 * channels)

        def up(width: int, times: int, blocks: int) -> Iterator[nn.Module]:
            """Build residual blocks, and up-sampling that halves the channels to `width`."""
            for _ in range(blocks):
                yield ResidualBlock(make, width * 2**times, dropout)
            for i in reversed(range(times)):
                channels = width * 2**i
                yield make.relu(make.up_conv(2 * channels, channels, 3), channels)

        self.coarse = nn.Sequential(*down(width, downsampling), *up(width, downsampling, blocks))
        last = width // 2 if enhancer else width
        self.before = nn.Sequential(*down(last, 1)) if enhancer else None
        self.after = nn.Sequential(*up(last, 1, fine_blocks)) if enhancer else None
        self.last = make.conv(last, out_channels, 7, padding=3, bias=True, padding_mode="reflect")
        initialise(self, init, zero_bias=zero_bias)

    def forward(self, images: Tensor) -> Tensor:  # NCHW -> NCHW
        return padded(self._translate, images, self.multiple, minimum=self.padded_minimum)

    def _translate(self, x: Tensor) -> Tensor:
        if self.before is None or self.after is None:  # without the enhancer
            x = self.coarse(x)
        else:
            half = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
            x = self.after(self.before(x) + self.coarse(half))
        return torch.tanh(self.last(x))

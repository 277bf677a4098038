"""The generators of pix2pixHD: the global one, and the local enhancer around it."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantrain.networks.blocks import (
    Count,
    Depth,
    Init,
    Layers,
    Norm,
    Share,
    Upsample,
    Width,
    initialise,
    padded,
)
from gantrain.networks.resnet import ResidualBlock


class CoarseToFine(nn.Module):
    """pix2pixHD's global generator: down-sampling, residual blocks and up-sampling (Wang et al.,
    2018, arXiv 1711.11585).

    Takes images (N, in_channels, H, W) of any size and gives (N, out_channels, H, W) in [-1, 1].
    With `enhancer` these layers see the image at half its size, and thinner ones, of half the
    width, add the details: pix2pixHD's local enhancer, for 1024x2048. downsampling: the number of
    down-samplings, each by 2. `multiple` is 2**downsampling, and twice that with `enhancer`. As in
    pix2pixHD, every convolution has a bias, whatever the norm.
    zero_bias: biases start at 0; pix2pixHD leaves them PyTorch's."""

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
        dropout: Share = 0.0,
        spectral_norm: bool = False,
        upsample: Upsample = "transpose",
        init: Init = "normal",
        zero_bias: bool = False,
    ) -> None:
        super().__init__()
        self.multiple = 2 ** (downsampling + enhancer)
        self.padded_minimum = 2 * self.multiple
        make = Layers(norm, spectral_norm, upsample, bias=True)

        def down(width: int, downsampling: int) -> Iterator[nn.Module]:
            yield make.relu(
                make.conv(in_channels, width, 7, padding=3, padding_mode="reflect"), width
            )
            for c in (width * 2**i for i in range(downsampling)):
                yield make.relu(make.conv(c, 2 * c, 3, stride=2, padding=1), 2 * c)

        def up(width: int, upsampling: int, blocks: int) -> Iterator[nn.Module]:
            yield from (ResidualBlock(make, width * 2**upsampling, dropout) for _ in range(blocks))
            for c in (width * 2**i for i in reversed(range(upsampling))):
                yield make.relu(make.up_conv(2 * c, c, 3), c)

        self.coarse = nn.Sequential(*down(width, downsampling), *up(width, downsampling, blocks))
        last = width // 2 if enhancer else width
        self.before = nn.Sequential(*down(last, 1)) if enhancer else None
        self.after = nn.Sequential(*up(last, 1, fine_blocks)) if enhancer else None
        self.last = make.conv(last, out_channels, 7, padding=3, bias=True, padding_mode="reflect")
        initialise(self, init, zero_bias=zero_bias)

    def forward(self, images: Tensor) -> Tensor:  # NCHW -> NCHW
        # The smallest map that a block can reflect by one pixel has two a side.
        return padded(self._translate, images, self.multiple, minimum=self.padded_minimum)

    def _translate(self, x: Tensor) -> Tensor:
        if self.before is None or self.after is None:
            x = self.coarse(x)
        else:
            half = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
            x = self.after(self.before(x) + self.coarse(half))
        return torch.tanh(self.last(x))

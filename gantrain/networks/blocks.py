"""What the networks share: the options of a recipe, layers by name, initialisation, padding."""

import functools
import math
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gantrain.networks.spectral import Spectral, SpectralConv2d, SpectralConvTranspose2d
from gantrain.networks.sync_batch import SyncBatchNorm2d

Norm = Literal["instance", "batch", "sync_batch", "group", "none"]
Init = Literal["normal", "xavier", "kaiming", "default"]
Upsample = Literal["transpose", "nearest", "bilinear"]
# The largest values that a recipe may state; what a network would cost is checked where it is
# built.
Count = Annotated[int, Field(ge=1, le=256)]  # of layers of one kind and size
Depth = Annotated[int, Field(ge=1, le=12)]  # of layers or scales that each halve the size
Level = Annotated[int, Field(ge=0, le=12)]
Width = Annotated[int, Field(ge=1, le=4096)]  # channels
Pixels = Annotated[int, Field(ge=1, le=4096)]
Share = Annotated[float, Field(ge=0, lt=1)]
Widths = Annotated[tuple[Width, ...], Field(min_length=1, max_length=12)]

GROUPS = 32
POWER_ITERATIONS = 15  # before the first step, so that it sees weights of the right scale


class Layers:
    """Makes the layers of one network by its options.

    bias: of a convolution that isn't told otherwise. By default it has none where the norm brings
    its own. Instance norm would remove one too, but the peers keep it, and counts agree.
    """

    def __init__(
        self,
        norm: Norm,
        spectral_norm: bool = False,
        upsample: Upsample = "transpose",
        bias: bool | None = None,
    ) -> None:
        check_choice("norm", norm, Norm)
        check_choice("upsample", upsample, Upsample)
        self.norm, self.spectral_norm, self.upsample = norm, spectral_norm, upsample
        self.bias = norm in ("instance", "none") if bias is None else bias

    def conv(
        self,
        before: int,
        after: int,
        kernel: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool | None = None,
        padding_mode: Literal["zeros", "reflect"] = "zeros",
    ) -> nn.Conv2d:
        cls = SpectralConv2d if self.spectral_norm else nn.Conv2d
        bias = self.bias if bias is None else bias
        return cls(before, after, kernel, stride, padding, bias=bias, padding_mode=padding_mode)

    def up_conv(
        self, before: int, after: int, kernel: Literal[3, 4], bias: bool | None = None
    ) -> nn.Module:
        """Twice the size: a transposed convolution of that kernel, or a resize and a 3x3 one."""
        if self.upsample != "transpose":
            resize = nn.Upsample(scale_factor=2, mode=self.upsample)
            return nn.Sequential(resize, self.conv(before, after, 3, padding=1, bias=bias))
        cls = SpectralConvTranspose2d if self.spectral_norm else nn.ConvTranspose2d
        bias = self.bias if bias is None else bias
        return cls(before, after, kernel, 2, padding=1, output_padding=kernel % 2, bias=bias)

    def norms(self, channels: int, affine: bool = True) -> list[nn.Module]:
        """A list of no or one module; without weights of its own where not `affine`.

        `instance` has neither weights nor running statistics; `group` has 32 groups, or the
        largest common divisor where 32 does not divide the channels.
        """
        if self.norm == "none":
            return []
        if self.norm == "instance":
            # The same as nn.InstanceNorm2d, which is 2.4 times slower on a CPU.
            return [nn.GroupNorm(channels, channels, affine=False)]
        if self.norm == "group":
            return [nn.GroupNorm(math.gcd(GROUPS, channels), channels, affine=affine)]
        return [
            (SyncBatchNorm2d if self.norm == "sync_batch" else nn.BatchNorm2d)(
                channels, affine=affine
            )
        ]

    def leaky(self, conv: nn.Conv2d, normalised: bool = True) -> nn.Sequential:
        """The convolution, its norm and a leaky ReLU."""
        norms = self.norms(conv.out_channels) if normalised else []
        return nn.Sequential(conv, *norms, nn.LeakyReLU(0.2, inplace=True))

    def relu(self, conv: nn.Module, channels: int, dropout: float = 0.0) -> nn.Sequential:
        """The convolution, the norm of its output channels, a ReLU and dropout."""
        drops = [nn.Dropout(dropout)] if dropout else []
        norms = self.norms(channels)
        # In place on a norm's output only: the convolution's own is a feature that others look at.
        return nn.Sequential(conv, *norms, nn.ReLU(inplace=bool(norms)), *drops)


class BlurPool(nn.Module):
    """Every second pixel after a blur by [1, 2, 1] / 4 in both directions, reflecting at the
    border.

    Zhang, 2019 (arXiv 1904.11486): (N, C, H, W) to half of H and W, rounded up. Keeps nothing in
    checkpoints."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        line = torch.tensor([0.25, 0.5, 0.25])
        self.register_buffer("kernel", torch.outer(line, line)[None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        x = F.pad(x, (1, 1, 1, 1), mode="reflect")
        return F.conv2d(x, self.kernel.expand(channels, 1, 3, 3), stride=2, groups=channels)


class SelfAttention(nn.Module):
    """Each pixel adds a share of what it finds at all pixels: (N, C, H, W) to the same.

    Of SAGAN (Zhang et al., 2019, arXiv 1805.08318); the share is learnt and starts at 0. Memory
    grows with the number of pixels, or with its square where PyTorch has no better way, so it
    belongs where maps are small."""

    def __init__(self, make: Layers, channels: int) -> None:
        super().__init__()
        narrow, half = max(1, channels // 8), max(1, channels // 2)
        self.query, self.key = (make.conv(channels, narrow, 1, bias=False) for _ in range(2))
        self.value, self.out = (
            make.conv(channels, half, 1, bias=False),
            make.conv(half, channels, 1, bias=False),
        )
        self.share = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        asked, known, said = (
            f(x).flatten(2).mT[:, None] for f in (self.query, self.key, self.value)
        )  # N1(HW)C
        found = F.scaled_dot_product_attention(asked, known, said, scale=1.0)
        y: Tensor = x + self.share * self.out(found[:, 0].mT.reshape(len(x), -1, *x.shape[2:]))
        return y


def check_choice(option: str, value: str, choices: Any) -> None:
    """A recipe is checked before this; here it is for networks made from Python."""
    if value not in get_args(choices):
        raise ValueError(f"{option}: found {value!r}, allowed are {', '.join(get_args(choices))}")


_DRAW: dict[str, Callable[[Tensor], Tensor]] = {
    "normal": functools.partial(nn.init.normal_, std=0.02),
    "xavier": functools.partial(nn.init.xavier_normal_, gain=0.02),
    "kaiming": nn.init.kaiming_normal_,
}


def initialise(network: nn.Module, init: Init, *, zero_bias: bool = True) -> None:
    """Draw the weights of all convolutions, linear layers and batch norms in place.

    normal: N(0, 0.02), pix2pix's; xavier: with gain 0.02, SPADE's; kaiming: fan-in, for ReLU;
    default: PyTorch's. Biases become 0 unless `zero_bias` is off; batch norm weights N(1, 0.02).
    """
    check_choice("init", init, Init)
    for module in network.modules() if init != "default" else ():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            _DRAW[init](module.weight)
            if zero_bias and module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, Spectral):
            module.advance(POWER_ITERATIONS)


def padded(
    network: Callable[[Tensor], Tensor], images: Tensor, multiple: int, minimum: int = 1
) -> Tensor:
    """Apply `network` to images padded to a multiple in height and width, and crop its output.

    The padding is on all sides; it reflects, or repeats the border of images too small for that.
    Padded sides are `minimum` or longer; sizes that fit already are left as they are.
    """
    height, width = images.shape[-2:]
    padded_height, padded_width = padded_size((height, width), multiple, minimum)
    vertical = padded_height - height
    horizontal = padded_width - width
    if vertical == 0 and horizontal == 0:
        return network(images)
    top, left = vertical // 2, horizontal // 2
    bottom, right = vertical - top, horizontal - left
    mode = "reflect" if bottom < height and right < width else "replicate"
    larger = F.pad(images, (left, right, top, bottom), mode=mode)
    return network(larger)[..., top : top + height, left : left + width]


def padded_size(size: tuple[int, int], multiple: int, minimum: int = 1) -> tuple[int, int]:
    """The height and width to which `padded` pads images of `size`."""
    height = max(-(-size[0] // multiple) * multiple, minimum)
    width = max(-(-size[1] // multiple) * multiple, minimum)
    return height, width

"""Parts of all networks: types of a recipe's options, layers, initialisation and padding."""

import functools
import math
from collections.abc import Callable
from typing import Annotated, Literal, get_args

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gantrain.core.errors import UserError
from gantrain.networks.spectral import Spectral, SpectralConv2d, SpectralConvTranspose2d
from gantrain.networks.sync_batch import SyncBatchNorm2d

Norm = Literal["instance", "batch", "sync_batch", "group", "none"]
Init = Literal["normal", "xavier", "kaiming", "default"]
Upsample = Literal["transpose", "nearest", "bilinear"]
# The types bound what a recipe may state. The cost of a network is checked where it is built.
Count = Annotated[int, Field(ge=1, le=256)]  # of layers of one kind and size
Depth = Annotated[int, Field(ge=1, le=12)]  # of layers or scales, each of half the size
Level = Annotated[int, Field(ge=0, le=12)]
Width = Annotated[int, Field(ge=1, le=4096)]  # channels
Pixels = Annotated[int, Field(ge=1, le=4096)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Widths = Annotated[tuple[Width, ...], Field(min_length=1, max_length=12)]

GROUPS = 32  # of group norm
POWER_ITERATIONS = 15  # before the first step, so that it sees weights of the right scale


class Layers:
    """Builds the layers of one network from its options.

    bias: whether convolutions have a bias, unless a call says otherwise. By default they have none
    where the norm has one of its own. Instance norm would remove a bias too. Other projects keep it
    there, so that the numbers of parameters agree. Raises UserError for an unknown norm or
    up-sampling.
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
        self.norm = norm
        self.spectral_norm = spectral_norm
        self.upsample = upsample
        self.bias = norm in ("instance", "none") if bias is None else bias

    def conv(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool | None = None,
        padding_mode: Literal["zeros", "reflect"] = "zeros",
    ) -> nn.Conv2d:
        """Return a convolution, with spectral norm where the network has it."""
        cls = SpectralConv2d if self.spectral_norm else nn.Conv2d
        return cls(
            in_channels,
            out_channels,
            kernel,
            stride=stride,
            padding=padding,
            bias=self.bias if bias is None else bias,
            padding_mode=padding_mode,
        )

    def up_conv(
        self,
        in_channels: int,
        out_channels: int,
        kernel: Literal[3, 4],
        bias: bool | None = None,
    ) -> nn.Module:
        """Return a layer that doubles the height and the width.

        It is a transposed convolution of that kernel, or a resize and a 3x3 convolution.
        """
        if self.upsample != "transpose":
            resize = nn.Upsample(scale_factor=2, mode=self.upsample)
            return nn.Sequential(
                resize, self.conv(in_channels, out_channels, 3, padding=1, bias=bias)
            )
        cls = SpectralConvTranspose2d if self.spectral_norm else nn.ConvTranspose2d
        return cls(
            in_channels,
            out_channels,
            kernel,
            stride=2,
            padding=1,
            output_padding=kernel % 2,  # 1 for the odd kernel, which would give a pixel too few
            bias=self.bias if bias is None else bias,
        )

    def norms(self, channels: int, affine: bool = True) -> list[nn.Module]:
        """Return a list with the norm of so many channels, or an empty list without a norm.

        `instance` has neither weights nor running statistics. `group` has 32 groups, or the
        greatest common divisor where 32 does not divide the channels. affine: the norm has weights.
        """
        if self.norm == "none":
            return []
        if self.norm == "instance":
            # The same as nn.InstanceNorm2d, which is 2.4 times slower on a CPU.
            return [nn.GroupNorm(channels, channels, affine=False)]
        if self.norm == "group":
            return [nn.GroupNorm(math.gcd(GROUPS, channels), channels, affine=affine)]
        cls = SyncBatchNorm2d if self.norm == "sync_batch" else nn.BatchNorm2d
        return [cls(channels, affine=affine)]

    def leaky(self, conv: nn.Conv2d, normalised: bool = True) -> nn.Sequential:
        """Return the convolution with its norm and a leaky ReLU behind it."""
        norms = self.norms(conv.out_channels) if normalised else []
        return nn.Sequential(conv, *norms, nn.LeakyReLU(0.2, inplace=True))

    def relu(self, conv: nn.Module, channels: int, dropout: float = 0.0) -> nn.Sequential:
        """Return the convolution with a norm, a ReLU and dropout behind it.

        channels: of the convolution's output. dropout: the fraction to drop; 0 adds no module.
        """
        drops = [nn.Dropout(dropout)] if dropout else []
        norms = self.norms(channels)
        # In place on a norm's output only, because a convolution's output may be a feature that
        # others read.
        return nn.Sequential(conv, *norms, nn.ReLU(inplace=bool(norms)), *drops)


class BlurPool(nn.Module):
    """Blur pooling (Zhang, 2019, arXiv 1904.11486): every second pixel of a blurred map.

    The blur is [1, 2, 1] / 4 in both directions, and reflects at the border. (N, C, H, W) becomes
    (N, C, H / 2, W / 2), rounded up. Checkpoints hold nothing of it.
    """

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
    """The self-attention of SAGAN (Zhang et al., 2019, arXiv 1805.08318), (N, C, H, W) to the same.

    Each pixel adds a weighted sum over all pixels, times `share`, which is learnt and starts at 0.
    Memory grows with the number of pixels, or with its square where PyTorch has no better way, so
    that the module belongs where maps are small.
    """

    def __init__(self, make: Layers, channels: int) -> None:
        super().__init__()
        key_channels = max(1, channels // 8)
        value_channels = max(1, channels // 2)
        self.query = make.conv(channels, key_channels, 1, bias=False)
        self.key = make.conv(channels, key_channels, 1, bias=False)
        self.value = make.conv(channels, value_channels, 1, bias=False)
        self.out = make.conv(value_channels, channels, 1, bias=False)
        self.share = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        queries = _as_sequence(self.query(x))
        keys = _as_sequence(self.key(x))
        values = _as_sequence(self.value(x))
        attended = F.scaled_dot_product_attention(queries, keys, values, scale=1.0)  # N1(HW)C
        maps = attended[:, 0].mT.reshape(len(x), -1, *x.shape[2:])  # NCHW
        y: Tensor = x + self.share * self.out(maps)
        return y


def _as_sequence(maps: Tensor) -> Tensor:
    """Return maps (N, C, H, W) as sequences of pixels for one head, (N, 1, HW, C)."""
    return maps.flatten(2).mT[:, None]


def check_choice(option: str, value: str, choices: object) -> None:
    """Raise UserError for a value that is none of the choices, which are a Literal's.

    A recipe is checked before. This is for networks that are built from Python.
    """
    if value not in get_args(choices):
        raise UserError(f"{option}: found {value!r}, allowed are {', '.join(get_args(choices))}")


_DRAW: dict[str, Callable[[Tensor], Tensor]] = {
    "normal": functools.partial(nn.init.normal_, std=0.02),
    "xavier": functools.partial(nn.init.xavier_normal_, gain=0.02),
    "kaiming": nn.init.kaiming_normal_,
}


def mixes_samples(network: nn.Module) -> bool:
    """Return whether an output depends on the other images of its batch.

    It does so by batch norm, except where batch norm keeps fixed statistics.
    """
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
            return True
    return False


def drops_units(network: nn.Module) -> bool:
    """Return whether the network draws units to drop, so that two forwards differ."""
    for module in network.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.training and module.p > 0:
            return True
    return False


def initialise(network: nn.Module, init: Init, *, zero_bias: bool = True) -> None:
    """Draw the weights of all convolutions, linear layers and batch norms in place.

    normal: N(0, 0.02), pix2pix's. xavier: with gain 0.02, SPADE's. kaiming: by fan-in, for ReLU.
    default: PyTorch's own, which change nothing. Otherwise biases become 0 unless `zero_bias` is
    off, and batch norm weights are drawn from N(1, 0.02). In every case spectral norms iterate, to
    estimate the scale of the weights. On the meta device there is nothing to draw. Raises
    UserError for another `init`.
    """
    check_choice("init", init, Init)
    if init != "default":
        for module in network.modules():
            _initialise_module(module, init, zero_bias)
    for module in network.modules():
        if isinstance(module, Spectral):
            module.advance(POWER_ITERATIONS)


def _initialise_module(module: nn.Module, init: Init, zero_bias: bool) -> None:
    """Draw the weights of one layer in place, unless it is on the meta device."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        if module.weight.is_meta:  # the first draw there imports 900 modules of torch
            return
        _DRAW[init](module.weight)
        if zero_bias and module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
        if module.weight.is_meta:
            return
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def padded(
    network: Callable[[Tensor], Tensor], images: Tensor, multiple: int, minimum: int = 1
) -> Tensor:
    """Apply `network` to images padded to a multiple in height and width, and crop its output.

    images: (N, C, H, W). The padding is on all sides. It reflects, or repeats the border of images
    that are too small for a reflection. A padded height or width is at least `minimum`. Images of a
    size that fits are not padded.
    """
    height, width = images.shape[-2:]
    padded_height, padded_width = padded_size((height, width), multiple, minimum)
    vertical = padded_height - height
    horizontal = padded_width - width
    if vertical == 0 and horizontal == 0:
        return network(images)
    top = vertical // 2
    bottom = vertical - top
    left = horizontal // 2
    right = horizontal - left
    mode = "reflect" if bottom < height and right < width else "replicate"
    larger = F.pad(images, (left, right, top, bottom), mode=mode)
    return network(larger)[..., top : top + height, left : left + width]


def padded_size(size: tuple[int, int], multiple: int, minimum: int = 1) -> tuple[int, int]:
    """Return the height and width to which `padded` pads images of `size`, (height, width)."""
    height, width = size
    return _padded_side(height, multiple, minimum), _padded_side(width, multiple, minimum)


def _padded_side(side: int, multiple: int, minimum: int) -> int:
    """Round a side up to a multiple, and to `minimum` at least."""
    multiples = (side + multiple - 1) // multiple
    return max(multiples * multiple, minimum)

"""What the networks share: the options of a recipe, layers by name, initialisation, padding."""

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gantrain.networks.spectral import Spectral, SpectralConv2d, SpectralConvTranspose2d
from gantrain.networks.sync_batch import SyncBatchNorm2d

Norm = Literal["instance", "batch", "sync_batch", "group", "none"]
Init = Literal["normal", "xavier", "kaiming", "default"]
Upsample = Literal["transpose", "nearest", "bilinear"]
Count = Annotated[int, Field(ge=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]
Widths = Annotated[tuple[Count, ...], Field(min_length=1)]

GROUPS = 32
POWER_ITERATIONS = 15  # before the first step, so that it sees weights of the right scale


def check_choice(option: str, value: str, choices: Any) -> None:
    """Raise ValueError where `value` is none of a Literal's; a recipe is checked before this."""
    if value not in get_args(choices):
        raise ValueError(f"{option}: found {value!r}, allowed are {', '.join(get_args(choices))}")


def norm_layers(norm: Norm, channels: int) -> list[nn.Module]:
    """The named normalisation over `channels` as a list of no or one module.

    `instance` has neither weights nor running statistics; `group` has 32 groups, or the largest
    common divisor where 32 does not divide the channels.
    """
    check_choice("norm", norm, Norm)
    if norm == "instance":
        # The same as nn.InstanceNorm2d, which is 2.4 times slower on a CPU (forward and backward).
        return [nn.GroupNorm(channels, channels, affine=False)]
    if norm == "batch":
        return [nn.BatchNorm2d(channels)]
    if norm == "sync_batch":
        return [SyncBatchNorm2d(channels)]
    if norm == "group":
        return [nn.GroupNorm(math.gcd(GROUPS, channels), channels)]
    return []


def biased(norm: Norm) -> bool:
    """Whether a convolution before `norm` has a bias: not where the norm brings its own.

    Instance norm would remove one too, but the peers keep it, and counts and checkpoints agree.
    """
    return norm in ("instance", "none")


def conv(
    in_channels: int,
    out_channels: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int = 0,
    bias: bool,
    spectral_norm: bool = False,
    padding_mode: Literal["zeros", "reflect"] = "zeros",
) -> nn.Conv2d:
    """A convolution, spectrally normalised on request."""
    cls = SpectralConv2d if spectral_norm else nn.Conv2d
    return cls(
        in_channels,
        out_channels,
        kernel,
        stride=stride,
        padding=padding,
        bias=bias,
        padding_mode=padding_mode,
    )


def up_conv(
    in_channels: int,
    out_channels: int,
    kernel: Literal[3, 4],
    *,
    upsample: Upsample,
    bias: bool,
    spectral_norm: bool = False,
) -> nn.Module:
    """Twice the size: a transposed convolution of that kernel, or a resize and a 3x3 one."""
    check_choice("upsample", upsample, Upsample)
    if upsample != "transpose":
        return nn.Sequential(
            nn.Upsample(scale_factor=2, mode=upsample),
            conv(in_channels, out_channels, 3, padding=1, bias=bias, spectral_norm=spectral_norm),
        )
    cls = SpectralConvTranspose2d if spectral_norm else nn.ConvTranspose2d
    odd = kernel % 2
    return cls(in_channels, out_channels, kernel, 2, padding=1, output_padding=odd, bias=bias)


def dropout_layers(probability: float) -> list[nn.Module]:
    return [nn.Dropout(probability)] if probability > 0 else []


def initialise(network: nn.Module, init: Init, *, zero_bias: bool = True) -> None:
    """Draw the weights of all convolutions, linear layers and batch norms in place.

    normal: N(0, 0.02), pix2pix's; xavier: with gain 0.02, SPADE's; kaiming: fan-in, for ReLU;
    default: PyTorch's. Biases become 0 unless `zero_bias` is off; batch norm weights N(1, 0.02).
    """
    check_choice("init", init, Init)
    for module in network.modules():
        if init == "default":
            break
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            _draw(module.weight, init)
            if zero_bias and module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, Spectral):
            module.advance(POWER_ITERATIONS)


def _draw(weight: Tensor, init: Init) -> None:
    if init == "normal":
        nn.init.normal_(weight, 0.0, 0.02)
    elif init == "xavier":
        nn.init.xavier_normal_(weight, gain=0.02)
    else:
        nn.init.kaiming_normal_(weight)


def at_multiple(
    network: Callable[[Tensor], Tensor], images: Tensor, multiple: int, minimum: int = 1
) -> Tensor:
    """Apply `network` to images padded to a multiple in height and width, and crop its output.

    The padding is on all sides; it reflects, or repeats the border of images too small for that.
    Padded sides are `minimum` or longer; sizes that fit already are left as they are.
    """
    height, width = images.shape[-2:]
    vertical = max(-(-height // multiple) * multiple, minimum) - height
    horizontal = max(-(-width // multiple) * multiple, minimum) - width
    if vertical == 0 and horizontal == 0:
        return network(images)
    top, left = vertical // 2, horizontal // 2
    bottom, right = vertical - top, horizontal - left
    mode = "reflect" if bottom < height and right < width else "replicate"
    padded = F.pad(images, (left, right, top, bottom), mode=mode)
    return network(padded)[..., top : top + height, left : left + width]

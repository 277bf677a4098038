"""Discriminators of patches.

Every discriminator returns a list of scales, full resolution first. A scale is the list of its
feature maps after their activations, with the map of logits last.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from gantrain.core.errors import UserError
from gantrain.networks.blocks import (
    BlurPool,
    Depth,
    Init,
    Layers,
    Level,
    Norm,
    SelfAttention,
    Width,
    initialise,
)

Outputs = list[list[Tensor]]


def _smallest_input(layers: Sequence[nn.Module]) -> int:
    """Return the least height and width from which logits come out.

    No normalised map may be a single pixel, which a norm would erase.
    """
    size = 1  # of the map behind the present layer, from the logits back to the images
    for layer in reversed(layers):
        assert isinstance(layer, nn.Sequential)
        conv = layer[0]
        assert isinstance(conv, nn.Conv2d)
        stride = conv.stride[0]
        kernel = conv.kernel_size[0]
        padding = int(conv.padding[0])
        if isinstance(layer[-1], BlurPool):
            size = 2 * size - 1  # a blur halves the size and rounds up
        # A layer of more than a convolution and its activation has a norm or a blur. A single pixel
        # cannot be reflected for a blur either.
        if len(layer) > 2:
            size = max(size, 2)
        padded_input = (size - 1) * stride + kernel
        size = max(padded_input - 2 * padding, 1)
    return size


class Discriminator(nn.Module):
    """The base of discriminators that apply layers one after the other, at one or more scales.

    scales: for each scale its layers, each of them a Sequential that begins with its convolution.
    `minimum_size` is the least height and width of images.
    """

    def __init__(self, *scales: Sequence[nn.Module], init: Init, zero_bias: bool = True) -> None:
        super().__init__()
        self.scales = nn.ModuleList(nn.ModuleList(layers) for layers in scales)
        # Each scale sees half of the size of the one before, rounded up. So the last scale has its
        # smallest input from one pixel past twice the size that would be too small.
        largest_too_small = _smallest_input(scales[0]) - 1
        self.minimum_size = largest_too_small * 2 ** (len(scales) - 1) + 1
        initialise(self, init, zero_bias=zero_bias)

    @staticmethod
    def scale_factors(names: Iterable[str]) -> dict[str, int]:
        """Return the factor by which each scale sees images down-sampled.

        names: of tensors in a checkpoint, such as `scales.1.0.0.weight`. The keys of the result are
        the prefixes of the scales among them, such as `scales.1`.
        """
        factors = {}
        for name in names:
            matched = re.match(r"scales\.(\d{1,2})\.", name)
            if matched:
                factors[f"scales.{matched[1]}"] = 2 ** int(matched[1])
        return factors

    def forward(self, images: Tensor) -> Outputs:  # NCHW
        height, width = images.shape[-2:]
        least = self.minimum_size
        if height < least or width < least:
            raise UserError(
                f"{type(self).__name__}: images of {height}x{width} are too small, it needs"
                f" {least}x{least} or more"
            )
        outputs: Outputs = []
        for layers in self.scales:
            if outputs:
                images = F.avg_pool2d(images, 3, stride=2, padding=1, count_include_pad=False)
            maps = [images]
            assert isinstance(layers, nn.ModuleList)
            for layer in layers:
                maps.append(layer(maps[-1]))
            outputs.append(maps[1:])
        return outputs


def _patch_layers(
    outer: Layers,
    inner: Layers,
    in_channels: int,
    *,
    width: int,
    layers: int,
    padding: int,
    antialias: bool = False,
    attention: int | None = None,
) -> list[nn.Module]:
    """Build the layers of one scale. `outer` makes the first and last, `inner` those between.

    There are `layers` convolutions that halve the size, one that keeps it, and one to the logits.
    """
    if attention is not None and attention > layers:
        raise UserError(f"patchgan.attention: found {attention}, allowed: a layer, 0 to {layers}")
    widths = [width * min(2**i, 8) for i in range(layers + 1)]
    sequence: list[nn.Module] = []
    for i, (before, after) in enumerate(pairwise([in_channels, *widths])):
        make = outer if i == 0 else inner
        downsamples = i < layers
        stride = 2 if downsamples and not antialias else 1
        layer = make.leaky(make.conv(before, after, 4, stride=stride, padding=padding))
        if i == attention:
            layer.append(SelfAttention(make, after))
        if downsamples and antialias:
            layer.append(BlurPool())
        sequence.append(layer)
    logits = outer.conv(widths[-1], 1, 4, padding=padding)
    return [*sequence, nn.Sequential(logits)]


class PatchGAN(Discriminator):
    """The patch discriminator of pix2pix (Isola et al., 2017, arXiv 1611.07004).

    Takes images (N, in_channels, H, W) of `minimum_size` or more. 3 layers see patches of 70
    pixels (1: 16, 2: 34, 4: 142, 5: 286). Gives one scale: `layers + 1` feature maps, then the
    logits (N, 1, h, w), 30x30 for 256x256. With `antialias` it is CUT's: a blur after a convolution
    of stride 1 halves the size. `attention` adds SAGAN's self-attention to the map of that layer,
    from 0. Raises UserError for smaller images, and for a layer that does not exist.

    Args:
        width: The number of channels of the first layer. Deeper layers have multiples of it.
        layers: The number of layers that halve the size. They determine the size of the patch.
        norm: The normalisation between the layers.
        spectral_norm: Whether the convolutions have spectral norm.
        antialias: Whether a blur after a convolution of stride 1 replaces a strided convolution.
        attention: The layer, from 0, whose map has self-attention. null: none.
        init: How the first weights are drawn: normal is pix2pix's N(0, 0.02), xavier is SPADE's
            with gain 0.02, kaiming is for ReLU, and default is PyTorch's.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        width: Width = 64,
        layers: Depth = 3,
        norm: Norm = "batch",
        spectral_norm: bool = False,
        antialias: bool = False,
        attention: Level | None = None,
        init: Init = "normal",
    ) -> None:
        sequence = _patch_layers(
            Layers("none", spectral_norm),
            Layers(norm, spectral_norm),
            in_channels,
            width=width,
            layers=layers,
            padding=1,
            antialias=antialias,
            attention=attention,
        )
        super().__init__(sequence, init=init)


class PixelDiscriminator(Discriminator):
    """1x1 convolutions that classify each pixel by itself, pix2pix's PixelGAN (arXiv 1611.07004).

    Takes images (N, in_channels, H, W) of `minimum_size` or more. Gives one scale: two feature
    maps, then the logits (N, 1, H, W). Raises UserError for smaller images.

    Args:
        width: The number of channels of the first layer. Deeper layers have multiples of it.
        norm: The normalisation between the layers.
        spectral_norm: Whether the convolutions have spectral norm.
        init: How the first weights are drawn: normal is pix2pix's N(0, 0.02), xavier is SPADE's
            with gain 0.02, kaiming is for ReLU, and default is PyTorch's.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        width: Width = 64,
        norm: Norm = "batch",
        spectral_norm: bool = False,
        init: Init = "normal",
    ) -> None:
        make = Layers(norm, spectral_norm)
        first = make.leaky(make.conv(in_channels, width, 1, bias=True), normalised=False)
        second = make.leaky(make.conv(width, 2 * width, 1))
        logits = nn.Sequential(make.conv(2 * width, 1, 1))
        super().__init__([first, second, logits], init=init)


class MultiscalePatchGAN(Discriminator):
    """Patch discriminators on an image pyramid, of pix2pixHD (Wang et al., 2018, arXiv 1711.11585).

    Takes images (N, in_channels, H, W) of `minimum_size` or more. Gives, for each scale from full
    resolution down, `layers + 1` feature maps and the logits (N, 1, h, w), 35x35 for 256x256. With
    `spectral_norm` it is SPADE's, which has spectral norm on the normalised convolutions, and no
    biases there. Raises UserError for smaller images.

    Args:
        scales: The number of scales. Each scale sees the image at half of the size of the one
            before.
        width: The number of channels of the first layer. Deeper layers have multiples of it.
        layers: The number of layers of each scale that halve the size.
        norm: The normalisation between the layers of each scale.
        spectral_norm: Whether the convolutions have spectral norm.
        init: How the first weights are drawn: normal is pix2pix's N(0, 0.02), xavier is SPADE's
            with gain 0.02, kaiming is for ReLU, and default is PyTorch's.
        zero_bias: Whether biases start at 0. Otherwise PyTorch draws them.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        scales: Depth = 2,
        width: Width = 64,
        layers: Depth = 3,
        norm: Norm = "instance",
        spectral_norm: bool = False,
        init: Init = "normal",
        zero_bias: bool = False,
    ) -> None:
        outer = Layers("none")
        inner = Layers(norm, spectral_norm, bias=not spectral_norm)
        pyramid = [
            _patch_layers(outer, inner, in_channels, width=width, layers=layers, padding=2)
            for _ in range(scales)
        ]
        super().__init__(*pyramid, init=init, zero_bias=zero_bias)

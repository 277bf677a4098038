"""Discriminators of patches."""

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
from gantrain.networks.protocol import Discriminator

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


class LayeredDiscriminator(Discriminator):
    """The base class of discriminators that apply their layers in sequence, at one or more scales.

    `minimum_size` is the smallest allowed height and width of images.

    Args:
        scales: The layers of each scale. Each layer is a Sequential that begins with its
            convolution.
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


class PatchGAN(LayeredDiscriminator):
    """The patch discriminator of pix2pix (Isola et al., 2017, arXiv 1611.07004).

    It takes images (N, in_channels, H, W) whose sides are `minimum_size` or more. 3 layers see
    patches of 70 pixels (1: 16, 2: 34, 4: 142, 5: 286). It returns one scale: `layers + 1` feature
    maps, then the logits (N, 1, h, w), which are 30x30 for 256x256.

    Args:
        width: The number of channels of the first layer. Deeper layers have a multiple of it.
        layers: The number of layers that halve the size. They determine the size of the patch.
        norm: The kind of normalisation.
        spectral_norm: Normalises the weights of the convolutions by spectral norm.
        antialias: Down-samples by a blur after a convolution of stride 1, as in CUT.
        attention: The layer, from 0, to whose map self-attention is added. null adds none.
        init: The distribution of the first weights: `normal` is N(0, 0.02) as in pix2pix, `xavier`
            has a gain of 0.02 as in SPADE, `kaiming` suits ReLU, and `default` is that of PyTorch.

    Raises:
        UserError: The images are smaller than `minimum_size`, or `attention` names a layer that
            does not exist.
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


class PixelDiscriminator(LayeredDiscriminator):
    """The pixel discriminator of pix2pix: 1x1 convolutions classify each pixel by itself.

    Isola et al., 2017 (arXiv 1611.07004). It takes images (N, in_channels, H, W) whose sides are
    `minimum_size` or more. It returns one scale: two feature maps, then the logits (N, 1, H, W).

    Args:
        width: The number of channels of the first layer. Deeper layers have a multiple of it.
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


class MultiscalePatchGAN(LayeredDiscriminator):
    """The discriminator of pix2pixHD: patch discriminators on an image pyramid.

    Wang et al., 2018 (arXiv 1711.11585). It takes images (N, in_channels, H, W) whose sides are
    `minimum_size` or more. It returns, for each scale from full resolution down, `layers + 1`
    feature maps and the logits (N, 1, h, w), which are 35x35 for 256x256.

    Args:
        scales: The number of scales. Each scale sees the image at half of the size of the scale
            before it.
        width: The number of channels of the first layer. Deeper layers have a multiple of it.
        layers: The number of layers of a scale that halve the size.
        norm: The kind of normalisation.
        spectral_norm: Adds spectral norm to the normalised convolutions and removes their biases,
            as in SPADE.
        init: The distribution of the first weights: `normal` is N(0, 0.02) as in pix2pix, `xavier`
            has a gain of 0.02 as in SPADE, `kaiming` suits ReLU, and `default` is that of PyTorch.
        zero_bias: Starts the biases at 0. Otherwise they keep the random values of PyTorch, as in
            pix2pixHD.

    Raises:
        UserError: The images are smaller than `minimum_size`.
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

"""The generator of SPADE, whose norms a label map modulates, and its style encoder."""

from functools import partial
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantrain.networks.blocks import (
    Count,
    Init,
    Layers,
    Norm,
    Width,
    check_choice,
    initialise,
    padded,
)
from gantrain.networks.protocol import Generator, Network

_ENCODED = 256  # height and width of the images that the style encoder sees

# How often the generator doubles the size.
_UPSAMPLINGS = {"normal": 5, "more": 6, "most": 7}


class SpatialNorm(nn.Module):
    """A norm whose scale and shift of each pixel are computed from the label map.

    The norm has no weights of its own; convolutions compute both (the paper's equation 1). hidden:
    channels between the labels and the scale or shift.
    """

    def __init__(self, make: Layers, channels: int, label_channels: int, hidden: int) -> None:
        super().__init__()
        plain = Layers("none")
        self.norm = nn.Sequential(*make.norms(channels, affine=False))
        self.shared = plain.relu(plain.conv(label_channels, hidden, 3, padding=1), hidden)
        self.scale = plain.conv(hidden, channels, 3, padding=1)
        self.shift = plain.conv(hidden, channels, 3, padding=1)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:  # both of one height and width
        hidden = self.shared(labels)
        y: Tensor = self.norm(x) * (1 + self.scale(hidden)) + self.shift(hidden)
        return y


class ModulatedBlock(nn.Module):
    """Two modulated convolutions with a residual connection.

    Takes maps (N, in_channels, h, w) and one-hot labels of any size, and gives (N, out_channels, h,
    w). Where the channels change, a third modulated convolution is on the connection.
    """

    def __init__(
        self,
        make: Layers,
        in_channels: int,
        out_channels: int,
        *,
        label_channels: int,
        hidden: int,
    ) -> None:
        super().__init__()
        middle = min(in_channels, out_channels)
        norm = partial(SpatialNorm, make, label_channels=label_channels, hidden=hidden)
        self.norms = nn.ModuleList([norm(in_channels), norm(middle)])
        self.convs = nn.ModuleList(
            [
                make.conv(in_channels, middle, 3, padding=1, bias=True),
                make.conv(middle, out_channels, 3, padding=1, bias=True),
            ]
        )
        self.shortcut = nn.ModuleList()
        if in_channels != out_channels:
            self.shortcut.append(norm(in_channels))
            self.shortcut.append(make.conv(in_channels, out_channels, 1, bias=False))

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        labels = F.interpolate(labels, x.shape[-2:])  # the nearest ones, so that they stay one-hot
        y = x
        for norm, conv in zip(self.norms, self.convs, strict=True):
            y = conv(F.leaky_relu(norm(y, labels), 0.2))
        if self.shortcut:
            norm, conv = self.shortcut
            x = conv(norm(x, labels))
        return x + y


class SPADEGenerator(Generator):
    """The generator of SPADE (Park et al., 2019, arXiv 1903.07291).

    It builds an image from coarse to fine, and a label map modulates each of its norms. It takes
    one-hot label maps (N, in_channels, H, W) of any size and returns (N, out_channels, H, W) in
    [-1, 1]. `multiple` is 2 to the power of the number of up-samplings.

    If `style_channels` is not 0, the generator also takes styles (N, style_channels). The default
    is zeros, which are the mean style. The styles become the coarsest map.

    Args:
        width: The number of channels of the finest block. Coarser blocks have a multiple of it.
            `upsampling: most` adds a finer block with half of it.
        upsampling: How often the size is doubled: `normal` 5 times, `more` 6 times, `most` 7 times.
            The paper takes `more` for Cityscapes.
        hidden: The number of channels between the label map and the scale and shift of a norm.
        head: The height and the width of the map that a style becomes. The map is resized if the
            label map needs another size.
        norm: The kind of normalisation, whose result the label map modulates.
        spectral_norm: Normalises the weights of the convolutions by spectral norm.
        init: The distribution of the first weights: `normal` is N(0, 0.02) as in pix2pix, `xavier`
            has a gain of 0.02 as in SPADE, `kaiming` suits ReLU, and `default` is that of PyTorch.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        style_channels: int = 0,
        *,
        width: Width = 64,
        upsampling: Literal["normal", "more", "most"] = "normal",
        hidden: Width = 128,
        head: tuple[Count, Count] = (8, 8),
        norm: Norm = "sync_batch",
        spectral_norm: bool = True,
        init: Init = "xavier",
    ) -> None:
        super().__init__()
        check_choice("upsampling", upsampling, Literal["normal", "more", "most"])
        self.multiple = 2 ** _UPSAMPLINGS[upsampling]
        # A norm needs more than one pixel of the coarsest map.
        self.padded_minimum = 2 * self.multiple
        self.width = width
        self.head = head
        self.style_channels = style_channels
        make = Layers(norm, spectral_norm)
        plain = Layers("none")

        widths = [16 * width] * 4 + [8 * width, 4 * width, 2 * width, width]
        # The size stays the same before these blocks, and doubles before all others.
        self.flat = (0, 2) if upsampling == "normal" else (0,)
        if upsampling == "most":
            widths.append(width // 2)
        if style_channels:
            self.start: nn.Module = nn.Linear(style_channels, widths[0] * head[0] * head[1])
        else:
            self.start = plain.conv(in_channels, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(
            ModulatedBlock(make, before, after, label_channels=in_channels, hidden=hidden)
            for before, after in pairwise(widths)
        )
        self.last = plain.conv(widths[-1], out_channels, 3, padding=1)
        initialise(self, init)

    def forward(self, labels: Tensor, style: Tensor | None = None) -> Tensor:  # NCHW, NC -> NCHW
        return padded(
            partial(self._translate, style=style),
            labels,
            self.multiple,
            minimum=self.padded_minimum,
        )

    def _translate(self, labels: Tensor, style: Tensor | None = None) -> Tensor:
        x = self._coarsest_map(labels, style)
        for i, block in enumerate(self.blocks):
            if i not in self.flat:
                x = F.interpolate(x, scale_factor=2)
            x = block(x, labels)
        return torch.tanh(self.last(F.leaky_relu(x, 0.2)))

    def _coarsest_map(self, labels: Tensor, style: Tensor | None) -> Tensor:
        """Return the blocks' first map, made of the styles or of the down-sampled labels."""
        height, width = labels.shape[-2:]
        size = (height // self.multiple, width // self.multiple)
        if not self.style_channels:
            start: Tensor = self.start(F.interpolate(labels, size))
            return start
        if style is None:
            style = labels.new_zeros(len(labels), self.style_channels)
        x: Tensor = self.start(style).unflatten(1, (-1, *self.head))
        if tuple(self.head) != size:
            x = F.interpolate(x, size, mode="bilinear")
        return x


class StyleEncoder(Network):
    """The variational encoder of SPADE, which gives the distribution of an image's style.

    Park et al., 2019 (arXiv 1903.07291). It takes images (N, in_channels, H, W) in [-1, 1] of any
    size, and resizes them to 256x256. It returns the mean and the logarithm of the variance, each
    (N, style_channels).
    """

    def __init__(self, in_channels: int, style_channels: int = 256, *, width: Width = 64) -> None:
        super().__init__()
        make = Layers("instance", spectral_norm=True, bias=False)
        widths = [width, 2 * width, 4 * width, 8 * width, 8 * width, 8 * width]
        self.layers = nn.Sequential()
        for before, after in pairwise([in_channels, *widths]):
            self.layers.append(make.leaky(make.conv(before, after, 3, stride=2, padding=1)))
        side = _ENCODED // 2 ** len(widths)  # of the last map
        features = widths[-1] * side**2
        self.mean = nn.Linear(features, style_channels)
        self.log_variance = nn.Linear(features, style_channels)
        initialise(self, "xavier")

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:  # NCHW -> NC, NC
        if images.shape[-2:] != (_ENCODED, _ENCODED):
            images = F.interpolate(images, (_ENCODED, _ENCODED), mode="bilinear")
        x = self.layers(images).flatten(1)
        return self.mean(x), self.log_variance(x)

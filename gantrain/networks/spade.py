"""The generator of SPADE, whose norms the label map modulates, and its encoder of styles."""

from functools import partial
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantrain.networks.blocks import Count, Init, Layers, Norm, Width, initialise, padded

_ENCODED = 256  # pixels a side that the encoder sees


class SpatialNorm(nn.Module):
    """A norm without weights, scaled and shifted at each pixel by what the labels say (the
    paper's equation 1).
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
    """Two modulated convolutions around which the input passes, through a third where the width
    changes.
    """

    def __init__(
        self, make: Layers, before: int, after: int, label_channels: int, hidden: int
    ) -> None:
        super().__init__()
        middle = min(before, after)
        norm = partial(SpatialNorm, make, label_channels=label_channels, hidden=hidden)
        self.norms = nn.ModuleList([norm(before), norm(middle)])
        widths = pairwise((before, middle, after))
        self.convs = nn.ModuleList(make.conv(b, a, 3, padding=1, bias=True) for b, a in widths)
        shortcut = (
            [norm(before), make.conv(before, after, 1, bias=False)] if before != after else []
        )
        self.shortcut = nn.ModuleList(shortcut)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        labels = F.interpolate(labels, x.shape[-2:])  # the nearest, so that it stays one-hot
        y = x
        for norm, conv in zip(self.norms, self.convs, strict=True):
            y = conv(F.leaky_relu(norm(y, labels), 0.2))
        if self.shortcut:
            norm, conv = self.shortcut
            x = conv(norm(x, labels))
        return x + y


class SPADEGenerator(nn.Module):
    """From label maps to images, coarse to fine (Park et al., 2019, arXiv 1903.07291).

    Takes label maps (N, in_channels, H, W), one-hot, of any size, and gives (N, out_channels, H, W)
    in [-1, 1]. upsampling: `normal` up-samples 5 times, `more` 6 and `most` 7 times (the paper's
    choice for Cityscapes is `more`); `multiple` is 2 to that number. style_channels: where not 0,
    it also takes styles (N, style_channels), by default the mean one, zeros, which become the
    coarsest map: of `head` (height, width), resized where the label map wants another size."""

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
        extra = ("normal", "more", "most").index(upsampling)
        self.multiple = 2 ** (5 + extra)
        self.padded_minimum = 2 * self.multiple
        self.width, self.head, self.style_channels = width, head, style_channels
        make, plain = Layers(norm, spectral_norm), Layers("none")
        widths = (
            [16 * width] * 4
            + [8 * width, 4 * width, 2 * width, width]
            + [width // 2] * (extra == 2)
        )
        self.start = (
            nn.Linear(style_channels, widths[0] * head[0] * head[1])
            if style_channels
            else plain.conv(in_channels, widths[0], 3, padding=1)
        )
        blocks = (ModulatedBlock(make, b, a, in_channels, hidden) for b, a in pairwise(widths))
        self.blocks = nn.ModuleList(blocks)
        self.flat = (0, 2)[: 1 if extra else 2]  # the blocks before which the size stays
        self.last = plain.conv(widths[-1], out_channels, 3, padding=1)
        initialise(self, init)

    def forward(self, labels: Tensor, style: Tensor | None = None) -> Tensor:  # NCHW, NC -> NCHW
        # Two pixels are the least coarsest map that a norm can work on.
        return padded(
            partial(self._translate, style=style),
            labels,
            self.multiple,
            minimum=self.padded_minimum,
        )

    def _translate(self, labels: Tensor, style: Tensor | None = None) -> Tensor:
        size = [side // self.multiple for side in labels.shape[-2:]]
        if self.style_channels:
            style = labels.new_zeros(len(labels), self.style_channels) if style is None else style
            x = self.start(style).unflatten(1, (-1, *self.head))
            x = x if [*self.head] == size else F.interpolate(x, size, mode="bilinear")
        else:
            x = self.start(F.interpolate(labels, size))
        for i, block in enumerate(self.blocks):
            x = block(x if i in self.flat else F.interpolate(x, scale_factor=2), labels)
        return torch.tanh(self.last(F.leaky_relu(x, 0.2)))


class StyleEncoder(nn.Module):
    """From images to the distribution of their style, SPADE's variational encoder (arXiv
    1903.07291).

    Takes images (N, in_channels, H, W) in [-1, 1] of any size, which it resizes to 256x256. Gives
    the mean and the logarithm of the variance, each (N, style_channels)."""

    def __init__(self, in_channels: int, style_channels: int = 256, *, width: Width = 64) -> None:
        super().__init__()
        make = Layers("instance", spectral_norm=True, bias=False)
        widths = [in_channels, width, 2 * width, 4 * width, 8 * width, 8 * width, 8 * width]
        self.layers = nn.Sequential(
            *(make.leaky(make.conv(b, a, 3, 2, padding=1)) for b, a in pairwise(widths))
        )
        features = widths[-1] * (_ENCODED // 2**6) ** 2
        self.mean, self.log_variance = (nn.Linear(features, style_channels) for _ in range(2))
        initialise(self, "xavier")

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:  # NCHW -> NC, NC
        if images.shape[-2:] != (_ENCODED, _ENCODED):
            images = F.interpolate(images, (_ENCODED, _ENCODED), mode="bilinear")
        x = self.layers(images).flatten(1)
        return self.mean(x), self.log_variance(x)

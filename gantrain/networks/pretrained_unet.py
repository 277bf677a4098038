"""A U-Net around a network that was trained for something else."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from gantrain.networks.backbone import Backbone
from gantrain.networks.blocks import Init, Layers, Norm, Share, Upsample, Width, initialise, padded


class PretrainedUNet(nn.Module):
    """A U-Net (Ronneberger et al., 2015, arXiv 1505.04597) whose encoder is a network of timm, for
    little data.

    Takes images (N, in_channels, H, W) in [-1, 1], or class ids one-hot, of any size and gives (N,
    out_channels, H, W) in [-1, 1]. The decoder doubles the size, from the encoder's coarsest map
    (`multiple` is its reduction) up to full size, where it has `width` channels, twice as many a
    level below, 8 times at most; the encoder's maps join it, and dropout is behind them. Raises
    ValueError for a `backbone` whose maps don't halve."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        backbone: str = "resnet34",
        pretrained: bool = True,
        weights: str | None = None,
        width: Width = 32,
        norm: Norm = "instance",
        dropout: Share = 0.0,
        upsample: Upsample = "nearest",
        init: Init = "normal",
    ) -> None:
        super().__init__()
        self.encoder = Backbone(backbone, in_channels, pretrained, weights)
        reductions = self.encoder.reductions
        self.multiple = reductions[-1]
        side, halves = 4 * self.multiple, all(not r & (r - 1) for r in reductions)
        heights = [h for h, _ in self.encoder.shapes(side, side + self.multiple)]
        if (
            not halves
            or any(a >= b for a, b in pairwise(reductions))
            or heights != [side // r for r in reductions]
        ):
            found = (
                f"found {backbone}, whose maps of images {side} high are"
                f" {', '.join(map(str, heights))} high"
            )
            raise ValueError(
                f"pretrained_unet.backbone: {found}; allowed: a network that halves them"
            )
        make, joining = (
            Layers(norm, upsample=upsample),
            dict(zip(reductions, self.encoder.channels, strict=True)),
        )
        self.ups, self.joins, before = nn.ModuleList(), nn.ModuleList(), self.encoder.channels[-1]
        for level in reversed(range(self.multiple.bit_length() - 1)):
            after = width * min(2**level, 8)
            self.ups.append(make.relu(make.up_conv(before, after, 4), after))
            together = after + joining.get(2**level, 0)
            self.joins.append(make.relu(make.conv(together, after, 3, padding=1), after, dropout))
            before = after
        self.last = make.conv(before, out_channels, 3, padding=1, bias=True)
        for decoder in (self.ups, self.joins, self.last):
            initialise(decoder, init)

    def load(self) -> None:
        """The encoder's."""
        self.encoder.load()

    def forward(self, images: Tensor) -> Tensor:  # NCHW -> NCHW
        return padded(self._translate, images, self.multiple)

    def _translate(self, images: Tensor) -> Tensor:
        *skips, x = self.encoder(images)
        for up, join in zip(self.ups, self.joins, strict=True):
            x = up(x)
            if skips and skips[-1].shape[-2:] == x.shape[-2:]:
                x = torch.cat([skips.pop(), x], 1)
            x = join(x)
        return torch.tanh(self.last(x))

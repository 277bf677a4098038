"""A discriminator that looks at images through a network trained for something else."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from gantrain.networks.backbone import Backbone
from gantrain.networks.blocks import Layers, Pixels, Width, initialise

_LEVELS = 4
_KERNEL = 4


class ProjectedDiscriminator(nn.Module):
    """Small discriminators of a frozen network's features, of Projected GANs (Sauer et al., 2021,
    arXiv 2111.01007).

    Takes images (N, in_channels, H, W) and sees their last `image_channels`, 1 or 3: what stands
    before them, the source of a pair, is another discriminator's to judge. Resizes them: the
    shorter side to about `size` pixels, both to a multiple of the backbone's coarsest reduction.
    The features of `backbone`, one of timm's, at its four coarsest levels are mixed across channels
    and scales by convolutions that stay as they were drawn. Gives a scale for each level, finest
    first: the mixed features, the head's maps, then the logits (N, 1, h, w). Heads have spectral
    norm and, unlike the paper's, no batch norm."""

    def __init__(
        self,
        in_channels: int,
        image_channels: int,
        *,
        backbone: str = "tf_efficientnet_lite0",
        pretrained: bool = True,
        weights: str | None = None,
        width: Width = 64,
        size: Pixels = 224,
    ) -> None:
        super().__init__()
        if image_channels not in (1, 3):
            raise ValueError(
                f"projected: found images of {image_channels} channels, allowed: 1 or 3"
            )
        self.image_channels, self.size = image_channels, size
        self.backbone = Backbone(backbone, 3, pretrained, weights)
        self.multiple = self.backbone.reductions[-1]
        channels = self.backbone.channels[-_LEVELS:]
        side = max(self._rounded(size), self.multiple)
        heights = [h for h, _ in self.backbone.shapes(side, side + self.multiple)[-_LEVELS:]]
        if any(h >> downs < _KERNEL for downs, h in enumerate(reversed(heights))):
            found = (
                f"found {size}, at which the maps of {backbone} are {', '.join(map(str, heights))}"
                " high"
            )
            raise ValueError(f"projected.size: {found}; allowed: a larger size, such as {4 * side}")
        widths = [width * 2**level for level in range(len(channels))]
        plain, make = Layers("none"), Layers("none", spectral_norm=True)
        self.mix_channels = nn.ModuleList(
            plain.conv(c, w, 1) for c, w in zip(channels, widths, strict=True)
        )
        self.mix_scales = nn.ModuleList(plain.conv(b, a, 3, padding=1) for a, b in pairwise(widths))
        self.heads = nn.ModuleList()
        for level in range(len(channels)):
            # As coarse as the coarsest level in the end.
            downs = [
                make.leaky(make.conv(b, a, 4, 2, padding=1)) for b, a in pairwise(widths[level:])
            ]
            self.heads.append(
                nn.ModuleList([*downs, nn.Sequential(make.conv(widths[-1], 1, _KERNEL))])
            )
        for drawn in (self.mix_channels, self.mix_scales):
            initialise(drawn, "kaiming")
            drawn.requires_grad_(False)
        initialise(self.heads, "default")
        self.backbone.requires_grad_(False)

    def _rounded(self, side: float) -> int:
        return self.multiple * round(side / self.multiple)

    def load(self) -> None:
        """The backbone's."""
        self.backbone.load()

    def forward(self, images: Tensor) -> list[list[Tensor]]:  # NCHW
        seen = images[:, -self.image_channels :].expand(-1, 3, -1, -1)
        shape = [self._rounded(side * self.size / min(seen.shape[-2:])) for side in seen.shape[-2:]]
        if shape != list(seen.shape[-2:]):
            seen = F.interpolate(seen, shape, mode="bilinear", antialias=True)
        features = list(self.backbone(seen))[-_LEVELS:]
        mixed = [mix(x) for mix, x in zip(self.mix_channels, features, strict=True)]
        for i, mix in reversed(list(enumerate(self.mix_scales))):
            mixed[i] = mixed[i] + mix(
                F.interpolate(mixed[i + 1], mixed[i].shape[-2:], mode="bilinear")
            )
        outputs = []
        for x, layers in zip(mixed, self.heads, strict=True):
            maps = [x]
            for layer in layers:  # type: ignore[attr-defined]
                maps.append(layer(maps[-1]))
            outputs.append(maps)
        return outputs

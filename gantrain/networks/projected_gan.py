"""A discriminator of the features of a network that was trained for another task."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from gantrain.core.errors import UserError
from gantrain.networks.backbone import Backbone
from gantrain.networks.blocks import Layers, Pixels, Width, initialise
from gantrain.networks.protocol import Discriminator

_LEVELS = 4  # of the backbone's maps, the coarsest ones
_KERNEL = 4  # of the convolution to the logits


class ProjectedDiscriminator(Discriminator):
    """The discriminators of Projected GANs, which see the features of a frozen network.

    Sauer et al., 2021 (arXiv 2111.01007). It takes images (N, in_channels, H, W) and sees their
    last `image_channels`, 1 or 3. It ignores the channels before them, such as the source of a
    pair, so that another discriminator has to compare the pair. Convolutions with fixed random
    weights mix the features of the backbone's four coarsest levels, across channels and across
    scales.

    It returns a scale for each level, finest first: the mixed features, the maps of a head, then
    the logits (N, 1, h, w). The heads have spectral norm. Unlike the paper's heads, they have no
    batch norm. `load()` reads or downloads the backbone's weights.

    Args:
        backbone: The name of a network of timm.
        pretrained: Gives the backbone its pretrained weights. Otherwise they are random.
        weights: A file of pretrained weights. null downloads the weights of timm.
        width: The number of channels of the mixed features at the finest level. Each coarser level
            has twice as many.
        size: The number of pixels to which the shorter side is resized. Both sides are rounded to
            multiples of the backbone's coarsest reduction.

    Raises:
        UserError: The images have other channels, or `size` is too small for the heads.
    """

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
            raise UserError(
                f"projected: found images of {image_channels} channels, allowed: 1 or 3"
            )
        self.image_channels = image_channels
        self.size = size
        self.backbone = Backbone(backbone, 3, pretrained, weights)
        self.reduction = self.backbone.reductions[-1]
        self._check_size(backbone)

        channels = self.backbone.channels[-_LEVELS:]
        widths = [width * 2**level for level in range(len(channels))]
        plain = Layers("none")
        make = Layers("none", spectral_norm=True)
        self.mix_channels = nn.ModuleList(
            plain.conv(before, after, 1) for before, after in zip(channels, widths, strict=True)
        )
        # Each adds a coarser level to the next finer one.
        self.mix_scales = nn.ModuleList(
            plain.conv(coarser, finer, 3, padding=1) for finer, coarser in pairwise(widths)
        )
        self.heads = nn.ModuleList()
        for level in range(len(channels)):
            head = nn.ModuleList()
            # In the end the map is as coarse as the coarsest level.
            for before, after in pairwise(widths[level:]):
                head.append(make.leaky(make.conv(before, after, 4, stride=2, padding=1)))
            head.append(nn.Sequential(make.conv(widths[-1], 1, _KERNEL)))
            self.heads.append(head)
        for mixing in (self.mix_channels, self.mix_scales):
            initialise(mixing, "kaiming")
            mixing.requires_grad_(False)
        initialise(self.heads, "default")
        self.backbone.requires_grad_(False)

    def _check_size(self, name: str) -> None:
        """Raise UserError where a head's last map would be smaller than its kernel."""
        side = max(self._rounded(self.size), self.reduction)
        map_sizes = self.backbone.shapes(side, side + self.reduction)[-_LEVELS:]
        map_heights = [height for height, _ in map_sizes]
        # A head halves its map once for each coarser level.
        for times, height in enumerate(reversed(map_heights)):
            if height // 2**times < _KERNEL:
                raise UserError(
                    f"projected.size: found {self.size}, at which the maps of {name} are"
                    f" {', '.join(map(str, map_heights))} high; allowed: a larger size, such as"
                    f" {4 * side}"
                )

    def _rounded(self, side: float) -> int:
        """Round a side to the nearest multiple of the backbone's coarsest reduction."""
        return self.reduction * round(side / self.reduction)

    def load(self) -> None:
        """Read or fetch the backbone's weights. Raises UserError where they cannot be had."""
        self.backbone.load()

    def forward(self, images: Tensor) -> list[list[Tensor]]:  # NCHW
        seen = self._resize(images[:, -self.image_channels :].expand(-1, 3, -1, -1))
        features = list(self.backbone(seen))[-_LEVELS:]
        mixed = [mix(x) for mix, x in zip(self.mix_channels, features, strict=True)]
        for finer in reversed(range(len(self.mix_scales))):
            size = mixed[finer].shape[-2:]
            coarser = F.interpolate(mixed[finer + 1], size, mode="bilinear")
            mixed[finer] = mixed[finer] + self.mix_scales[finer](coarser)
        outputs = []
        for x, head in zip(mixed, self.heads, strict=True):
            maps = [x]
            assert isinstance(head, nn.ModuleList)
            for layer in head:
                maps.append(layer(maps[-1]))
            outputs.append(maps)
        return outputs

    def _resize(self, images: Tensor) -> Tensor:
        """Resize the shorter side to about `size`, and both sides to a multiple."""
        height, width = images.shape[-2:]
        shorter = min(height, width)
        new_height = self._rounded(height * self.size / shorter)
        new_width = self._rounded(width * self.size / shorter)
        if (new_height, new_width) == (height, width):
            return images
        return F.interpolate(images, (new_height, new_width), mode="bilinear", antialias=True)

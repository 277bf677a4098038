"""The projection of features that CUT compares."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gantrain.networks.blocks import Init, Width, initialise
from gantrain.networks.protocol import Network


class Projection(Network):
    """CUT's F: two linear layers for each feature map, then unit length.

    Park et al., 2020 (arXiv 2007.15651). Takes feature maps (N, C, h, w), whose numbers of channels
    are `channels`, and for each map the places to project, (N, P) in [0, h * w), counted row by
    row. Gives for each map vectors (N, P, width) in float32 or better.
    """

    def __init__(
        self, channels: Sequence[int], *, width: Width = 256, init: Init = "xavier"
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(c, width), nn.ReLU(inplace=True), nn.Linear(width, width))
            for c in channels
        )
        initialise(self, init)

    def forward(self, features: Sequence[Tensor], places: Sequence[Tensor]) -> list[Tensor]:
        projected = []
        for layer, feature, place in zip(self.layers, features, places, strict=True):
            picked = torch.take_along_dim(feature.flatten(2), place[:, None], dim=2)  # NCP
            x = layer(picked.transpose(1, 2))  # NP(width)
            x = x.to(torch.promote_types(x.dtype, torch.float32))
            length = torch.linalg.vector_norm(x, dim=2, keepdim=True)
            projected.append(x / (length + 1e-7))
        return projected

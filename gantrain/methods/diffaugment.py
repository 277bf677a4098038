"""Augmentation of what the discriminator sees, through which the generator learns."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gantrain.core.rng import Purpose
from gantrain.methods.base import Context

Kind = Literal["color", "translation", "cutout"]


class DiffAugment:
    """Colour, translation by up to an eighth and a cut-out half (Zhao et al. 2020, arXiv
    2006.10738), if named.

    A sample has one draw, from (seed, position), so that its source, real and fake stay comparable.
    `channels` are those of the images that stand one behind the other in a tensor: each has its own
    grey and its own mean. Without kinds images are given back as they are."""

    def __init__(self, kinds: Sequence[Kind], channels: list[int]) -> None:
        self.kinds, self.channels = kinds, channels

    def __call__(self, images: Tensor, context: Context) -> Tensor:
        """Images (N, C, H, W) of this micro-batch's samples in [-1, 1], augmented; colours may
        leave that range.
        """
        if not self.kinds:
            return images
        draws = np.stack(
            [context.random(p, Purpose.DIFF_AUGMENT).random(7) for p in context.positions]
        )
        size = np.array(images.shape[2:])
        if "color" in self.kinds:
            shares = torch.tensor(draws[:, :3], dtype=images.dtype).to(
                images.device, non_blocking=True
            )
            brightness, saturation, contrast = shares.view(-1, 3, 1, 1, 1).unbind(1)  # N111
            coloured = []
            for x in torch.split(images + brightness - 0.5, self.channels, 1):
                x = x.mean(1, keepdim=True).lerp(x, 2 * saturation)
                coloured.append(x.mean((1, 2, 3), keepdim=True).lerp(x, contrast + 0.5))
            images = torch.cat(coloured, 1)
        # Places are the host's own numbers, sample by sample, so that the device is never asked.
        if "translation" in self.kinds:
            reach = (size / 8 + 0.5).astype(int)
            moves = ((2 * reach + 1) * draws[:, 3:5]).astype(int) - reach
            moved = [
                F.pad(x, (dx, -dx, dy, -dy))
                for x, (dy, dx) in zip(images, moves.tolist(), strict=True)
            ]
            images = torch.stack(moved)
        if "cutout" in self.kinds:
            hole = (size / 2 + 0.5).astype(int)
            starts = ((size + 1 - hole % 2) * draws[:, 5:7]).astype(
                int
            ) - hole // 2  # centres may lie on the border
            kept = torch.ones_like(images[:, :1])
            for mask, (top, left), (bottom, right) in zip(
                kept, starts.clip(0), starts + hole, strict=True
            ):
                mask[:, top:bottom, left:right] = 0
            images = images * kept
        return images

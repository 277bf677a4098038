"""DiffAugment: differentiable augmentation of what the discriminator sees."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gantrain.core.rng import Purpose
from gantrain.methods.base import Context

Kind = Literal["color", "translation", "cutout"]


class DiffAugment:
    """DiffAugment (Zhao et al. 2020, arXiv 2006.10738) of the named kinds.

    The kinds are colour, translation by up to an eighth of the size, and a cut-out of half of it.
    The generator learns through the augmentation. A sample has one random draw, from (seed,
    position), so that its source, its real image and its fake stay comparable.

    kinds: in any order. Without kinds the images stay as they are. channels: of each image in the
    concatenated tensors. Each image has a grey and a mean of its own.
    """

    def __init__(self, kinds: Sequence[Kind], channels: list[int]) -> None:
        self.kinds = kinds
        self.channels = channels

    def __call__(self, images: Tensor, context: Context) -> Tensor:
        """Return the images, (N, C, H, W) in [-1, 1], after their augmentation.

        They are those of this micro-batch's samples. Colours may leave [-1, 1].
        """
        if not self.kinds:
            return images
        # Places are numbers of the host, sample by sample, so that no step waits for the device.
        randoms = [context.random(p, Purpose.DIFF_AUGMENT) for p in context.positions]
        draws = np.stack([random.random(7) for random in randoms])  # N7
        if "color" in self.kinds:
            images = self._change_colours(images, draws[:, :3])
        if "translation" in self.kinds:
            images = _translate(images, draws[:, 3:5])
        if "cutout" in self.kinds:
            images = _cut_out(images, draws[:, 5:7])
        return images

    def _change_colours(self, images: Tensor, draws: NDArray[np.float64]) -> Tensor:
        """Change brightness, saturation and contrast by draws (N, 3) in [0, 1)."""
        factors = torch.tensor(draws, dtype=images.dtype).to(images.device, non_blocking=True)
        brightness, saturation, contrast = factors.view(-1, 3, 1, 1, 1).unbind(1)  # N111
        changed = []
        for x in torch.split(images + brightness - 0.5, self.channels, 1):
            x = x.mean(1, keepdim=True).lerp(x, 2 * saturation)
            changed.append(x.mean((1, 2, 3), keepdim=True).lerp(x, contrast + 0.5))
        return torch.cat(changed, 1)


def _translate(images: Tensor, draws: NDArray[np.float64]) -> Tensor:
    """Move the images by up to an eighth of their size, by draws (N, 2) in [0, 1).

    Zeros fill what comes into view.
    """
    size = np.array(images.shape[2:])
    reach = (size / 8 + 0.5).astype(int)
    moves = ((2 * reach + 1) * draws).astype(int) - reach
    moved = []
    for x, (down, right) in zip(images, moves.tolist(), strict=True):
        moved.append(F.pad(x, (right, -right, down, -down)))
    return torch.stack(moved)


def _cut_out(images: Tensor, draws: NDArray[np.float64]) -> Tensor:
    """Set a rectangle of half the size to zero, at a place by draws (N, 2) in [0, 1).

    The centre of the rectangle may lie on the border of the image.
    """
    size = np.array(images.shape[2:])
    hole = (size / 2 + 0.5).astype(int)
    centres = ((size + 1 - hole % 2) * draws).astype(int)
    starts = centres - hole // 2
    mask = torch.ones_like(images[:, :1])
    corners = zip(starts.clip(0), starts + hole, strict=True)
    for sample, ((top, left), (bottom, right)) in zip(mask, corners, strict=True):
        sample[:, top:bottom, left:right] = 0
    return images * mask

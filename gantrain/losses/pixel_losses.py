"""Losses that compare images pixel by pixel."""

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import BeforeValidator, Field
from torch import Tensor

from gantrain.losses import distances
from gantrain.losses.adversarial import at_least_float32
from gantrain.losses.reconstruction_loss import ReconstructionLoss


def _whole_numbers(weights: object) -> object:
    """Return a mapping whose keys, which JSON holds as texts, are whole numbers."""
    if not isinstance(weights, dict):
        return weights
    return {
        int(key) if isinstance(key, str) and key.isascii() and key.isdigit() else key: value
        for key, value in weights.items()
    }


ClassId = Annotated[int, Field(ge=0, lt=2**17)]
ClassWeight = Annotated[float, Field(ge=0, le=1e9)]
ClassWeights = Annotated[dict[ClassId, ClassWeight], BeforeValidator(_whole_numbers)]


class PixelLoss(ReconstructionLoss):
    """The base class of losses that are a mean over pixels, which may have weights.

    A loss is the mean over all values of the weight times the pixel's loss. It is not divided by
    the weights, so that weights of 1 change nothing.
    """

    takes = ("fake", "target", "pixel_weights")

    def __init__(self, weight_by: str | None, class_weights: ClassWeights | None) -> None:
        super().__init__()
        self.weight_by = weight_by
        self.class_weights = class_weights


class L1(PixelLoss):
    """The mean absolute difference.

    Args:
        weight_by: The part of the batch that weights each pixel: a mask or a label map, by its role
            (`mask`, `source`). null weights all pixels alike.
        class_weights: The weights of the classes of that label map, by class id. Other classes have
            1.
    """

    def __init__(
        self, *, weight_by: str | None = None, class_weights: ClassWeights | None = None
    ) -> None:
        super().__init__(weight_by, class_weights)

    def forward(self, fake: Tensor, target: Tensor, pixel_weights: Tensor | None = None) -> Tensor:
        if pixel_weights is None:
            return distances.l1(fake, target)
        difference = at_least_float32(fake) - at_least_float32(target)
        return (pixel_weights * difference.abs()).mean()


class L2(PixelLoss):
    """The mean squared difference.

    Args:
        weight_by: The part of the batch that weights each pixel: a mask or a label map, by its role
            (`mask`, `source`). null weights all pixels alike.
        class_weights: The weights of the classes of that label map, by class id. Other classes have
            1.
    """

    def __init__(
        self, *, weight_by: str | None = None, class_weights: ClassWeights | None = None
    ) -> None:
        super().__init__(weight_by, class_weights)

    def forward(self, fake: Tensor, target: Tensor, pixel_weights: Tensor | None = None) -> Tensor:
        if pixel_weights is None:
            return distances.l2(fake, target)
        difference = at_least_float32(fake) - at_least_float32(target)
        return (pixel_weights * difference.square()).mean()


class Charbonnier(PixelLoss):
    """The Charbonnier loss, a smooth L1: the mean of sqrt(difference^2 + epsilon^2).

    Charbonnier et al., 1994, as in LapSRN (arXiv 1704.03915).

    Args:
        epsilon: The difference below which the loss is nearly quadratic. Images are in [-1, 1].
        weight_by: The part of the batch that weights each pixel: a mask or a label map, by its role
            (`mask`, `source`). null weights all pixels alike.
        class_weights: The weights of the classes of that label map, by class id. Other classes have
            1.
    """

    def __init__(
        self,
        *,
        epsilon: Annotated[float, Field(gt=0, le=2)] = 1e-3,
        weight_by: str | None = None,
        class_weights: ClassWeights | None = None,
    ) -> None:
        super().__init__(weight_by, class_weights)
        self.epsilon = epsilon

    def forward(self, fake: Tensor, target: Tensor, pixel_weights: Tensor | None = None) -> Tensor:
        difference = at_least_float32(fake) - at_least_float32(target)
        distance = (difference.square() + self.epsilon**2).sqrt()
        if pixel_weights is not None:
            distance = pixel_weights * distance
        return distance.mean()


class PyramidL1(ReconstructionLoss):
    """The mean absolute difference at several scales, for pairs that do not match exactly.

    Each level averages 2x2 pixels of the level before it. The loss is the mean over the levels. A
    shift by a few pixels changes the coarse levels little, so that they still tell the generator
    the colours of a place. `finest` leaves out levels at which the pairs do not match.

    Args:
        levels: The number of levels that are compared.
        finest: How often the images are halved before the first comparison. 0 compares the pixels
            themselves too.
    """

    def __init__(
        self,
        *,
        levels: Annotated[int, Field(ge=1, le=10)] = 4,
        finest: Annotated[int, Field(ge=0, le=10)] = 0,
    ) -> None:
        super().__init__()
        self.levels = levels
        self.finest = finest
        self.minimum_size = 2 ** (finest + levels - 1)

    def forward(self, fake: Tensor, target: Tensor) -> Tensor:
        fake = at_least_float32(fake)
        target = at_least_float32(target)
        distances_by_level = []
        for level in range(self.finest + self.levels):
            if level >= self.finest:
                distances_by_level.append(distances.l1(fake, target))
            fake = F.avg_pool2d(fake, 2) if min(fake.shape[-2:]) > 1 else fake
            target = F.avg_pool2d(target, 2) if min(target.shape[-2:]) > 1 else target
        return torch.stack(distances_by_level).mean()

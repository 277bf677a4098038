"""Distances of images, pixel by pixel."""

import torch.nn.functional as F
from torch import Tensor

from gantrain.losses.adversarial import precise


def l1(fake: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of two tensors of one shape, in float32 or better."""
    return F.l1_loss(precise(fake), precise(target))


def l2(fake: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference of two tensors of one shape, in float32 or better."""
    return F.mse_loss(precise(fake), precise(target))

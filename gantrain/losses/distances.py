"""Distances of images to their targets: of pixels, and of a discriminator's features."""

import torch
import torch.nn.functional as F
from torch import Tensor

from gantrain.losses.adversarial import Outputs, at_least_float32


def l1(fake: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of two tensors of one shape, in float32 or better."""
    return F.l1_loss(at_least_float32(fake), at_least_float32(target))


def l2(fake: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference of two tensors of one shape, in float32 or better."""
    return F.mse_loss(at_least_float32(fake), at_least_float32(target))


def feature_matching(real: Outputs, fake: Outputs) -> Tensor:
    """Unweighted L1 distance of fake to real features (Wang et al., 2018, arXiv 1711.11585).

    Takes a discriminator's outputs for both; the logits, last of each scale, take no part. Each
    feature map counts 4 / (number of them), the scales are averaged, and real ones get no gradient.
    """
    scales = [
        4 * torch.stack([l1(f, r.detach()) for r, f in zip(rs[:-1], fs[:-1], strict=True)]).mean()
        for rs, fs in zip(real, fake, strict=True)
    ]
    return torch.stack(scales).mean()


def kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Divergence of normal distributions (N, C) from the standard one, a mean over the samples
    (Kingma and Welling).
    """
    mean, log_variance = at_least_float32(mean), at_least_float32(log_variance)
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean() / 2

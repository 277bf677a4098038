"""Distances of images to their targets: of pixels, and of a discriminator's features."""

import torch
import torch.nn.functional as F
from torch import Tensor

from gantrain.losses.adversarial import Outputs, at_least_float32


def l1(fake: Tensor, target: Tensor) -> Tensor:
    """Return the mean absolute difference of two tensors of one shape, in float32 or better."""
    return F.l1_loss(at_least_float32(fake), at_least_float32(target))


def l2(fake: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared difference of two tensors of one shape, in float32 or better."""
    return F.mse_loss(at_least_float32(fake), at_least_float32(target))


def feature_matching(real: Outputs, fake: Outputs) -> Tensor:
    """Return the unweighted L1 distance of fake to real features.

    Wang et al., 2018 (arXiv 1711.11585). real, fake: a discriminator's outputs for both kinds of
    images. The logits, which come last in each scale, take no part. Each feature map counts 4 /
    (number of maps). The scales are averaged. The real features get no gradient.
    """
    per_scale = []
    for real_maps, fake_maps in zip(real, fake, strict=True):
        features = zip(real_maps[:-1], fake_maps[:-1], strict=True)
        per_map = [l1(fake_map, real_map.detach()) for real_map, fake_map in features]
        per_scale.append(4 * torch.stack(per_map).mean())
    return torch.stack(per_scale).mean()


def kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the divergence of normal distributions from the standard one.

    It is a mean over the samples. Kingma and Welling, 2014 (arXiv 1312.6114, appendix B). mean,
    log_variance: (N, C), of N distributions with C independent dimensions.
    """
    mean = at_least_float32(mean)
    log_variance = at_least_float32(log_variance)
    per_sample = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
    return per_sample.mean() / 2

"""Likeness of a discriminator's features, of pix2pixHD."""

import torch
import torch.nn.functional as F
from torch import Tensor

from gantrain.losses.adversarial import Outputs, precise


def feature_matching(real: Outputs, fake: Outputs) -> Tensor:
    """Unweighted L1 distance of fake to real features (Wang et al., 2018, arXiv 1711.11585).

    Takes a discriminator's outputs for both; the logits, last of each scale, take no part. Each
    feature map counts 4 / (number of them), the scales are averaged, and real ones get no gradient.
    """
    scales = []
    for real_maps, fake_maps in zip(real, fake, strict=True):
        pairs = list(zip(real_maps[:-1], fake_maps[:-1], strict=True))
        distances = [F.l1_loss(precise(f), precise(r.detach())) for r, f in pairs]
        scales.append(4.0 / len(pairs) * torch.stack(distances).sum())
    return torch.stack(scales).mean()

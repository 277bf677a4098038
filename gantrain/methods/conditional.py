"""What the methods with paired images share: a discriminator that sees source and target."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gantrain.losses.adversarial import Outputs


def pair(source: Tensor, image: Tensor) -> Tensor:
    return torch.cat([source, image], dim=1)


def judge_both(discriminator: nn.Module, real: Tensor, fake: Tensor) -> tuple[Outputs, Outputs]:
    """Outputs for two batches of pairs, from one forward where that is the same mathematics.

    Batch norm would mix the two batches' statistics, so it gets a forward for each.
    """
    if any(isinstance(m, _BatchNorm) for m in discriminator.modules()):
        return discriminator(real), discriminator(fake)
    both = discriminator(torch.cat([real, fake]))
    n = len(real)
    return [[x[:n] for x in scale] for scale in both], [[x[n:] for x in scale] for scale in both]


def share_above(outputs: Outputs, boundary: float) -> Tensor:
    """Share of the logits that call an image real."""
    return torch.stack([(scale[-1].detach() > boundary).float().mean() for scale in outputs]).mean()

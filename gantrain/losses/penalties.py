"""Penalties on the gradient of a discriminator's logits by its images.

Both take `discriminate`, which gives a discriminator's outputs for images and holds whatever else
it sees (the source of a conditional one): the gradient is taken by the images alone. Neither is
multiplied by `every`; the method does that, since it applies the penalty so rarely.
"""

from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from gantrain.losses.adversarial import Outputs, precise

Discriminate = Callable[[Tensor], Outputs]
Weight = Annotated[float, Field(ge=0, le=1e9)]
Every = Annotated[int, Field(ge=1, le=10**6)]


class R1:
    """Half the weight times the mean squared gradient norm at real images.

    Mescheder et al., 2018 (arXiv 1801.04406), applied every 16 steps as in StyleGAN 2.
    """

    def __init__(self, *, weight: Weight = 10.0, every: Every = 16) -> None:
        self.weight, self.every = weight, every

    def __call__(self, discriminate: Discriminate, real: Tensor, *unused: Tensor) -> Tensor:
        """A scalar from images (N, C, H, W); fakes and shares of the real ones are not used."""
        gradient = _gradient(discriminate, real)  # N(CHW)
        return self.weight / 2 * gradient.square().sum(1).mean()


class GradientPenalty:
    """The weight times the mean squared distance to 1 of the gradient norm between real and fake.

    Gulrajani et al., 2017 (WGAN-GP, arXiv 1704.00028).
    """

    def __init__(self, *, weight: Weight = 10.0, every: Every = 1) -> None:
        self.weight, self.every = weight, every

    def __call__(self, discriminate: Discriminate, real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
        """A scalar from images (N, C, H, W) and shares of the real ones, (N, 1, 1, 1) in [0, 1]."""
        real, fake, alpha = precise(real), precise(fake), precise(alpha)
        gradient = _gradient(discriminate, alpha * real + (1 - alpha) * fake)  # N(CHW)
        # A norm has no gradient at 0.
        norm: Tensor = torch.linalg.vector_norm(gradient + 1e-16, dim=1)
        return self.weight * (norm - 1).square().mean()


def _gradient(discriminate: Discriminate, images: Tensor) -> Tensor:
    """Each sample's gradient of its logits, summed over the map and averaged over the scales."""
    images = precise(images.detach()).requires_grad_(True)
    with (
        torch.enable_grad(),
        torch.autocast(images.device.type, enabled=False),
        torch.compiler.set_stance("force_eager"),  # a compiled network has no double backward
    ):
        outputs = discriminate(images)
        score = torch.stack([precise(scale[-1]).sum() for scale in outputs]).mean()
        (gradient,) = torch.autograd.grad(score, images, create_graph=True)
    per_sample: Tensor = gradient.flatten(1)
    return per_sample

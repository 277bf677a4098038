"""Adversarial losses. Each compares one map of real logits with one map of fake logits."""

import abc
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from gantrain.core.component import BadComponent

# The output of a discriminator: for each scale its feature maps, with the logits last.
Outputs = Sequence[Sequence[Tensor]]


def at_least_float32(x: Tensor) -> Tensor:
    """Return `x` in float32. A float64 tensor stays in float64."""
    return x if x.dtype == torch.float64 else x.float()


class AdversarialLoss(abc.ABC):
    """The base class of the two losses of one adversarial game.

    Both methods take logits of any shape, compute in float32 or better, and return a tensor without
    dimensions.

    boundary: the discriminator classifies an image as real where its logit is above this value.
    is_relative: the losses compare the logits of real and of fake images with one another. Then
    `generator` receives both, and `boundary` has no meaning. The logits of the real images cost one
    more forward of the discriminator, without gradient.
    """

    boundary = 0.0
    is_relative = False

    @abc.abstractmethod
    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """Return the loss that a discriminator minimises: the real part plus the fake part.

        The sum is not halved.
        """

    @abc.abstractmethod
    def generator(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        """Return the loss that a generator minimises.

        real_logits: of as many real images, without gradient, where `is_relative`. Other losses are
        called with the fakes' logits alone.
        """


class Vanilla(AdversarialLoss):
    """The cross-entropy loss, whose generator minimises -log D(fake).

    Goodfellow et al., 2014 (arXiv 1406.2661). The generator's loss is the non-saturating one.
    """

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        # -log sigmoid(x) is softplus(-x).
        on_real = F.softplus(-at_least_float32(real_logits)).mean()
        on_fake = F.softplus(at_least_float32(fake_logits)).mean()
        return on_real + on_fake

    def generator(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        return F.softplus(-at_least_float32(fake_logits)).mean()


class LeastSquares(AdversarialLoss):
    """The least-squares loss: the squared distance of the logits to 1 for real and to 0 for fake.

    LSGAN, Mao et al., 2017 (arXiv 1611.04076). The generator minimises the squared distance of a
    fake's logits to 1.
    """

    boundary = 0.5

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        on_real = (at_least_float32(real_logits) - 1).square().mean()
        on_fake = at_least_float32(fake_logits).square().mean()
        return on_real + on_fake

    def generator(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        return (at_least_float32(fake_logits) - 1).square().mean()


class Wasserstein(AdversarialLoss):
    """The Wasserstein loss: the difference of the mean logits of fake and of real images.

    WGAN, Arjovsky et al., 2017 (arXiv 1701.07875). It is meant for use with `gradient_penalty`.
    """

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return at_least_float32(fake_logits).mean() - at_least_float32(real_logits).mean()

    def generator(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        return -at_least_float32(fake_logits).mean()


class Hinge(Wasserstein):
    """The hinge loss, which gives the discriminator margins at 1 and -1.

    Lim and Ye, 2017 (arXiv 1705.02894). The generator's loss is that of WGAN.
    """

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        on_real = F.relu(1 - at_least_float32(real_logits)).mean()
        on_fake = F.relu(1 + at_least_float32(fake_logits)).mean()
        return on_real + on_fake


class Relativistic(AdversarialLoss):
    """The relativistic pairing loss: a real image should look more real than its fake.

    RpGAN, Jolicoeur-Martineau, 2018 (arXiv 1807.00734), as in R3GAN (arXiv 2501.05441). Both
    players minimise softplus of a difference of logits: the discriminator of fake - real, the
    generator of real - fake. Each fake is compared with the real image of its place in the batch,
    logit by logit. With pairs, this is its own target. R3GAN adds the penalties R1 and R2.
    """

    is_relative = True

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return F.softplus(at_least_float32(fake_logits) - at_least_float32(real_logits)).mean()

    def generator(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        assert real_logits is not None
        return F.softplus(at_least_float32(real_logits) - at_least_float32(fake_logits)).mean()


class RelativisticAverage(AdversarialLoss):
    """The relativistic average loss: cross-entropy of logits less the mean of the other kind's.

    RaGAN, Jolicoeur-Martineau, 2018 (arXiv 1807.00734), with the cross-entropy of the standard GAN.
    The discriminator classifies a real image as more real than the fakes are on average, and a fake
    as less real than the real images are on average. The generator minimises the opposite on both
    kinds. A mean is that of all logits of a micro-batch on one rank, so that the loss depends on
    the sizes of both.
    """

    is_relative = True

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        real = at_least_float32(real_logits)
        fake = at_least_float32(fake_logits)
        on_real = F.softplus(fake.mean() - real).mean()
        on_fake = F.softplus(fake - real.mean()).mean()
        return on_real + on_fake

    def generator(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        assert real_logits is not None
        # The same loss with the kinds exchanged.
        return self.discriminator(fake_logits, real_logits)


def discriminator_loss(loss: AdversarialLoss, real: Outputs, fake: Outputs) -> Tensor:
    """Return the mean of the discriminator's loss over its scales.

    real, fake: the discriminator's outputs for real and fake images. Raises BadComponent where
    `loss` does not return a tensor without dimensions.
    """
    per_scale = []
    for real_maps, fake_maps in zip(real, fake, strict=True):
        value = loss.discriminator(real_maps[-1], fake_maps[-1])
        per_scale.append(_check_scalar(loss, value))
    return torch.stack(per_scale).mean()


def generator_loss(loss: AdversarialLoss, fake: Outputs, real: Outputs | None = None) -> Tensor:
    """Return the mean of the generator's loss over the discriminator's scales.

    fake: the discriminator's outputs for fake images. real: those for real images, without
    gradient, where the loss is relative. Raises BadComponent where `loss` does not return a tensor
    without dimensions.
    """
    per_scale = []
    for scale, fake_maps in enumerate(fake):
        if loss.is_relative:
            assert real is not None
            value = loss.generator(fake_maps[-1], real[scale][-1].detach())
        else:
            value = loss.generator(fake_maps[-1])
        per_scale.append(_check_scalar(loss, value))
    return torch.stack(per_scale).mean()


def _check_scalar(loss: AdversarialLoss, value: Tensor) -> Tensor:
    """Return the value. Raises BadComponent where it has dimensions or is no tensor.

    A loss from outside might keep a dimension, which the mean over the scales would hide.
    """
    if isinstance(value, Tensor) and value.ndim == 0:
        return value
    if isinstance(value, Tensor):
        description = f"shape {tuple(value.shape)}"
    else:
        description = f"{value!r:.60}"
    raise BadComponent(
        f"adversarial: {type(loss).__name__} gives {description}, allowed: a tensor without"
        " dimensions, such as a mean"
    )

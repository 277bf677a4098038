"""Adversarial losses; each compares one map of real logits with one of fake logits."""

import abc
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from gantrain.core.component import BadComponent

Outputs = Sequence[Sequence[Tensor]]  # of a discriminator: scales of feature maps, logits last


def at_least_float32(x: Tensor) -> Tensor:
    """`x` in float32, or float64 where it is."""
    return x if x.dtype == torch.float64 else x.float()


class AdversarialLoss(abc.ABC):
    """Scalar losses of logits of any shape, computed in float32 or better.

    boundary: the logit from which the discriminator calls an image real.
    """

    boundary = 0.0

    @abc.abstractmethod
    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """The loss that a discriminator minimises: real part plus fake part, not halved."""

    @abc.abstractmethod
    def generator(self, fake_logits: Tensor) -> Tensor:
        """The loss that a generator minimises."""


class Vanilla(AdversarialLoss):
    """Cross-entropy, the generator's being -log D(fake) (Goodfellow et al., 2014)."""

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        # -log sigmoid(x) is softplus(-x).
        return (
            F.softplus(-at_least_float32(real_logits)).mean()
            + F.softplus(at_least_float32(fake_logits)).mean()
        )

    def generator(self, fake_logits: Tensor) -> Tensor:
        return F.softplus(-at_least_float32(fake_logits)).mean()


class LeastSquares(AdversarialLoss):
    """Squared distance to 1 for real and 0 for fake (LSGAN, Mao et al., 2017)."""

    boundary = 0.5

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return (at_least_float32(real_logits) - 1).square().mean() + at_least_float32(
            fake_logits
        ).square().mean()

    def generator(self, fake_logits: Tensor) -> Tensor:
        return (at_least_float32(fake_logits) - 1).square().mean()


class Wasserstein(AdversarialLoss):
    """Difference of mean scores; needs a gradient penalty (WGAN, Arjovsky et al., 2017)."""

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return at_least_float32(fake_logits).mean() - at_least_float32(real_logits).mean()

    def generator(self, fake_logits: Tensor) -> Tensor:
        return -at_least_float32(fake_logits).mean()


class Hinge(Wasserstein):
    """Margins at 1 and -1, for the discriminator alone (Lim and Ye, 2017)."""

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return (
            F.relu(1 - at_least_float32(real_logits)).mean()
            + F.relu(1 + at_least_float32(fake_logits)).mean()
        )


def discriminator_loss(loss: AdversarialLoss, real: Outputs, fake: Outputs) -> Tensor:
    """The discriminator's loss, a mean over its scales; takes its whole outputs."""
    terms = [
        _scalar(loss, loss.discriminator(r[-1], f[-1])) for r, f in zip(real, fake, strict=True)
    ]
    return torch.stack(terms).mean()


def generator_loss(loss: AdversarialLoss, fake: Outputs) -> Tensor:
    """The generator's loss, a mean over the discriminator's scales; takes its whole output."""
    return torch.stack([_scalar(loss, loss.generator(scale[-1])) for scale in fake]).mean()


def _scalar(loss: AdversarialLoss, value: Tensor) -> Tensor:
    """The value, which a loss from outside might give with a dimension left, and a mean would
    hide that.
    """
    if not isinstance(value, Tensor) or value.ndim:
        found = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"{value!r:.60}"
        raise BadComponent(
            f"adversarial: {type(loss).__name__} gives {found}, allowed: a tensor without"
            " dimensions, such as a mean"
        )
    return value

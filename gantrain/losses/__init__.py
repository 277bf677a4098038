"""Losses; each works alone, without the rest of gantrain."""

from typing import Any

from gantrain.losses.adversarial import (
    AdversarialLoss,
    Hinge,
    LeastSquares,
    NonSaturating,
    Vanilla,
    Wasserstein,
    discriminator_loss,
    generator_loss,
)
from gantrain.losses.feature_matching import feature_matching
from gantrain.losses.penalties import R1, GradientPenalty
from gantrain.losses.pixel import l1, l2

ADVERSARIAL: dict[str, type[AdversarialLoss]] = {
    "vanilla": Vanilla,
    "lsgan": LeastSquares,
    "hinge": Hinge,
    "wgan": Wasserstein,
    "nonsaturating": NonSaturating,
}

PENALTIES: dict[str, type[Any]] = {
    "r1": R1,
    "gradient_penalty": GradientPenalty,
}

__all__ = [
    "ADVERSARIAL",
    "PENALTIES",
    "R1",
    "AdversarialLoss",
    "GradientPenalty",
    "Hinge",
    "LeastSquares",
    "NonSaturating",
    "Vanilla",
    "Wasserstein",
    "discriminator_loss",
    "feature_matching",
    "generator_loss",
    "l1",
    "l2",
]

"""Losses of images, logits and features. Each works without the rest of gantrain.

The tables map the names of a recipe to the classes.
"""

from gantrain.losses.adversarial import (
    AdversarialLoss,
    Hinge,
    LeastSquares,
    Relativistic,
    RelativisticAverage,
    Vanilla,
    Wasserstein,
)
from gantrain.losses.penalties import R1, R2, GradientPenalty
from gantrain.losses.perceptual import VGG19

ADVERSARIAL: dict[str, type[AdversarialLoss]] = {
    "vanilla": Vanilla,
    "lsgan": LeastSquares,
    "hinge": Hinge,
    "wgan": Wasserstein,
    "relativistic": Relativistic,
    "relativistic_average": RelativisticAverage,
    "nonsaturating": Vanilla,  # StyleGAN 2's name for the same loss
}

PENALTIES: dict[str, type] = {"r1": R1, "r2": R2, "gradient_penalty": GradientPenalty}

PERCEPTUAL: dict[str, type] = {"vgg19": VGG19}

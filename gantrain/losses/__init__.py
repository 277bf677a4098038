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
from gantrain.losses.feature_losses import NETWORKS as PERCEPTUAL_NETWORKS
from gantrain.losses.feature_losses import FeatureMatching, Perceptual, SupervisedPatchNCE
from gantrain.losses.lpips import DISTS, LPIPS
from gantrain.losses.penalties import R1, R2, GradientPenalty
from gantrain.losses.pixel_losses import L1, L2, Charbonnier, PyramidL1
from gantrain.losses.reconstruction_loss import ReconstructionLoss
from gantrain.losses.structural_similarity import SSIM, MultiscaleSSIM

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

PERCEPTUAL: dict[str, type] = PERCEPTUAL_NETWORKS

# The terms of a step are added up in this order.
RECONSTRUCTION: dict[str, type[ReconstructionLoss]] = {
    "l1": L1,
    "l2": L2,
    "charbonnier": Charbonnier,
    "pyramid_l1": PyramidL1,
    "ssim": SSIM,
    "ms_ssim": MultiscaleSSIM,
    "feature_matching": FeatureMatching,
    "perceptual": Perceptual,
    "lpips": LPIPS,
    "dists": DISTS,
    "patch_nce": SupervisedPatchNCE,
}

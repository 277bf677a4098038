"""gantrain: train image-to-image translation GANs, from one CPU to a cluster."""

from typing import TYPE_CHECKING

from gantrain.api import public_names, public_object

if TYPE_CHECKING:
    from gantrain.core.errors import UserError
    from gantrain.data.degradations.degradation import Degradation, Degraded
    from gantrain.data.degradations.degradation_table import DEGRADATIONS
    from gantrain.data.formats.format_table import FORMATS
    from gantrain.data.formats.image_format import ImageFormat
    from gantrain.data.kinds.kind import Kind
    from gantrain.data.kinds.table import KINDS
    from gantrain.evaluation.evaluate_api import Evaluation, evaluate
    from gantrain.inference.loading import load
    from gantrain.inference.translator import Translator
    from gantrain.losses import ADVERSARIAL, PENALTIES, PERCEPTUAL, RECONSTRUCTION
    from gantrain.losses.adversarial import AdversarialLoss
    from gantrain.losses.reconstruction_loss import ReconstructionLoss
    from gantrain.methods import METHODS
    from gantrain.methods.base import Batch, Context, Input, Method, Phase, Terms
    from gantrain.methods.network_roles import NetworkRole
    from gantrain.networks import NETWORKS, Discriminator, Generator
    from gantrain.recipe.schema import Recipe
    from gantrain.training.start import TrainResult, train

__version__ = "0.1.0"
__all__ = [
    "ADVERSARIAL",
    "DEGRADATIONS",
    "FORMATS",
    "KINDS",
    "METHODS",
    "NETWORKS",
    "PENALTIES",
    "PERCEPTUAL",
    "RECONSTRUCTION",
    "AdversarialLoss",
    "Batch",
    "Context",
    "Degradation",
    "Degraded",
    "Discriminator",
    "Evaluation",
    "Generator",
    "ImageFormat",
    "Input",
    "Kind",
    "Method",
    "NetworkRole",
    "Phase",
    "Recipe",
    "ReconstructionLoss",
    "Terms",
    "TrainResult",
    "Translator",
    "UserError",
    "evaluate",
    "load",
    "train",
]

__getattr__ = public_object
__dir__ = public_names

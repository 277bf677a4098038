"""gantrain: train image-to-image translation GANs, from one CPU to a cluster."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gantrain.api import TrainResult, train
    from gantrain.evaluate_api import Evaluation, evaluate
    from gantrain.inference import Translator, load
    from gantrain.losses import ADVERSARIAL, PENALTIES, PERCEPTUAL
    from gantrain.method import Batch, Context, Method, Phase, Terms
    from gantrain.methods import METHODS
    from gantrain.networks import NETWORKS
    from gantrain.recipe import Recipe

__version__ = "0.1.0"
__all__ = ["ADVERSARIAL", "METHODS", "NETWORKS", "PENALTIES", "PERCEPTUAL", "Batch", "Context", "Evaluation", "Method"]
__all__ += ["Phase", "Recipe", "Terms", "TrainResult", "Translator", "evaluate", "load", "train"]

# Imported on first use: `from gantrain.networks import UNet` needs only torch.
_HOMES = {"METHODS": "methods", "NETWORKS": "networks", "Recipe": "recipe"}
_HOMES |= dict.fromkeys(["TrainResult", "train"], "api")
_HOMES |= dict.fromkeys(["Evaluation", "evaluate"], "evaluate_api")
_HOMES |= dict.fromkeys(["Translator", "load"], "inference")
_HOMES |= dict.fromkeys(["ADVERSARIAL", "PENALTIES", "PERCEPTUAL"], "losses")
_HOMES |= dict.fromkeys(["Batch", "Context", "Method", "Phase", "Terms"], "method")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gantrain' has no attribute {name!r}")
    return getattr(import_module(f"gantrain.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])

"""gantrain: train image-to-image translation GANs, from one CPU to a cluster."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gantrain.api import train
    from gantrain.inference import load
    from gantrain.losses import ADVERSARIAL, PENALTIES
    from gantrain.method import Method, Phase, Terms
    from gantrain.methods import METHODS
    from gantrain.networks import NETWORKS
    from gantrain.recipe import Recipe

__version__ = "0.1.0"
__all__ = ["ADVERSARIAL", "METHODS", "NETWORKS", "PENALTIES", "Method", "Phase", "Recipe", "Terms", "load", "train"]

# Imported on first use: `from gantrain.networks import UNet` needs only torch.
_HOMES = {"METHODS": "methods", "NETWORKS": "networks", "Recipe": "recipe", "load": "inference", "train": "api"}
_HOMES |= dict.fromkeys(["ADVERSARIAL", "PENALTIES"], "losses") | dict.fromkeys(["Method", "Phase", "Terms"], "method")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gantrain' has no attribute {name!r}")
    return getattr(import_module(f"gantrain.{_HOMES[name]}"), name)

"""The public names of gantrain and the modules that define them.

Python imports such a module when a program uses one of its names for the first time. So
`from gantrain.networks import UNet` needs only torch, and `import gantrain` needs nothing.
"""

from importlib import import_module

MODULES = {
    "ADVERSARIAL": "gantrain.losses",
    "DEGRADATIONS": "gantrain.data.degradations.degradation_table",
    "KINDS": "gantrain.data.kinds.table",
    "METHODS": "gantrain.methods",
    "NETWORKS": "gantrain.networks",
    "PENALTIES": "gantrain.losses",
    "PERCEPTUAL": "gantrain.losses",
    "AdversarialLoss": "gantrain.losses.adversarial",
    "Batch": "gantrain.methods.base",
    "Context": "gantrain.methods.base",
    "Degradation": "gantrain.data.degradations.degradation",
    "Degraded": "gantrain.data.degradations.degradation",
    "Discriminator": "gantrain.networks",
    "Evaluation": "gantrain.evaluation.evaluate_api",
    "FORMATS": "gantrain.data.formats.format_table",
    "Generator": "gantrain.networks",
    "ImageFormat": "gantrain.data.formats.image_format",
    "Input": "gantrain.methods.base",
    "Kind": "gantrain.data.kinds.kind",
    "Method": "gantrain.methods.base",
    "NetworkRole": "gantrain.methods.network_roles",
    "Phase": "gantrain.methods.base",
    "RECONSTRUCTION": "gantrain.losses",
    "ReconstructionLoss": "gantrain.losses.reconstruction_loss",
    "Recipe": "gantrain.recipe.schema",
    "Terms": "gantrain.methods.base",
    "TrainResult": "gantrain.training.start",
    "Translator": "gantrain.inference.translator",
    "UserError": "gantrain.core.errors",
    "evaluate": "gantrain.evaluation.evaluate_api",
    "load": "gantrain.inference.loading",
    "train": "gantrain.training.start",
}


def public_object(name: str) -> object:
    """Return the class, function or table of a public name.

    Raises AttributeError for another name.
    """
    if name not in MODULES:
        raise AttributeError(f"module 'gantrain' has no attribute {name!r}")
    return vars(import_module(MODULES[name]))[name]


def public_names() -> list[str]:
    """Return the names that `dir(gantrain)` shows."""
    return sorted([*MODULES, "__version__"])

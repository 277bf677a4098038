"""Return whether a metric would choose checkpoints by a kind of network that the training itself
pleases.

A network that was trained to tell ImageNet's classes apart looks at what tells classes apart.
Images that learn from one such network please another one without looking better (Kynkäänniemi et
al., 2023, arXiv 2203.06026)."""

import re
from collections.abc import Mapping

from torch import nn

from gantrain.losses.perceptual import VGG19
from gantrain.metrics import registry
from gantrain.metrics.extractors import INCEPTION, is_network
from gantrain.metrics.paired import LPIPS
from gantrain.networks.backbone import Backbone

IMAGENET = "ImageNet's classes"
_CLASSES = re.compile(
    r"(^|_)inw?(1|12|21|22)k(_|$)"
)  # in the tag of timm's weights, of the data that they saw last


def flattery(best_by: str, parts: Mapping[str, nn.Module]) -> str | None:
    """The reason against choosing checkpoints by `best_by`, in one line, or None where there is
    none.

    parts: the networks and frozen helpers of a method, by name.
    """
    family = family_of_metric(best_by)
    if family is None:
        return None
    advice = "choose by swd or fd_random0, or by a network of another training"
    if family == IMAGENET:
        advice += ", such as fd_vit_small_patch14_dinov2"
    for name, part in parts.items():
        for module in part.modules():
            model = _pretrained(module)
            if model and _family_of_model(model) == family:
                return (
                    f"evaluate.best_by: {best_by} looks through a network trained on {family}, and"
                    f" so does the training itself ({name}: {model}), so that it improves without"
                    f" better images (Kynkäänniemi et al. 2023, arXiv 2203.06026); {advice}"
                )
    return None


def family_of_metric(name: str) -> str | None:
    """Name what the network behind a metric was trained on; None where no trained network is
    behind it.
    """
    if name in LPIPS:
        return IMAGENET
    of_set = registry.of_set(name)
    if of_set is None or of_set[1] in registry.RANDOM or not is_network(of_set[1]):
        return None
    model = of_set[1]
    if model in (*INCEPTION, "squeezenet") or model.startswith("torchvision/"):
        return IMAGENET
    return _family_of_model(model)


def _pretrained(module: nn.Module) -> str | None:
    """The name of the network whose published weights the module holds."""
    if isinstance(module, VGG19):
        return "vgg19"
    if isinstance(module, Backbone) and module.pretrained:
        return module.name
    return None


def _family_of_model(name: str) -> str:
    """ImageNet's classes, or else the tag of timm's weights, such as `lvd142m`, DINOv2's images."""
    import timm

    about = timm.get_pretrained_cfg(name, allow_unregistered=True)
    tag = (about.tag or "") if about else ""
    return IMAGENET if _CLASSES.search(tag) else tag or name

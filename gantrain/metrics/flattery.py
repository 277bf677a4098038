"""Find out whether a metric and the training look through networks of the same pre-training.

A network that was trained to classify ImageNet attends to what distinguishes ImageNet's classes.
Images that are trained against one such network score better under another one, without looking
better (Kynkäänniemi et al., 2023, arXiv 2203.06026).
"""

import re
from collections.abc import Mapping

from torch import nn

from gantrain.losses.feature_networks import TorchvisionFeatures
from gantrain.losses.lpips import DISTS, LPIPS
from gantrain.losses.perceptual import VGG19
from gantrain.metrics import registry
from gantrain.metrics.extractors import INCEPTION, is_network
from gantrain.metrics.paired import LPIPS as LPIPS_METRICS
from gantrain.networks.backbone import Backbone

IMAGENET = "ImageNet's classes"
# ImageNet in the tag of timm's weights, which names the data that they saw last.
_CLASSES = re.compile(r"(^|_)inw?(1|12|21|22)k(_|$)")


def flattery(best_by: str, parts: Mapping[str, nn.Module]) -> str | None:
    """Return the reason against choosing checkpoints by `best_by` in one line, or None.

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
            model = _pretrained_name(module)
            if model and _family_of(module, model) == family:
                return (
                    f"evaluate.best_by: {best_by} looks through a network trained on {family}, and"
                    f" so does the training itself ({name}: {model}), so that it improves without"
                    f" better images (Kynkäänniemi et al. 2023, arXiv 2203.06026); {advice}"
                )
    return None


def family_of_metric(name: str) -> str | None:
    """Return what the network behind a metric was trained on; None without a trained network."""
    if name in LPIPS_METRICS:
        return IMAGENET
    set_metric = registry.of_set(name)
    if set_metric is None:
        return None
    _, extractor = set_metric
    if extractor in registry.RANDOM or not is_network(extractor):
        return None
    if extractor in (*INCEPTION, "squeezenet") or extractor.startswith("torchvision/"):
        return IMAGENET
    return _family_of_model(extractor)


def _pretrained_name(module: nn.Module) -> str | None:
    """Return the name of the network whose published weights the module holds."""
    if isinstance(module, VGG19):
        return "vgg19"
    if isinstance(module, LPIPS):
        return f"LPIPS of {module.backbone}"
    if isinstance(module, DISTS):
        return "DISTS"
    if isinstance(module, TorchvisionFeatures):
        return module.backbone
    if isinstance(module, Backbone) and module.pretrained:
        return module.name
    return None


def _family_of(module: nn.Module, model: str) -> str:
    """Return what the network of a module was trained on; all of torchvision's saw ImageNet."""
    return _family_of_model(model) if isinstance(module, Backbone) else IMAGENET


def _family_of_model(name: str) -> str:
    """Return IMAGENET, or else the tag of timm's weights.

    An example of a tag is `lvd142m`, the images of DINOv2.
    """
    import timm

    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    tag = config.tag if config and config.tag else ""
    if _CLASSES.search(tag):
        return IMAGENET
    return tag or name

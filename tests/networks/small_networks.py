"""Small versions of every network, so that a property is tested over the whole table."""

import inspect

import torch
from torch import Tensor, nn

from gantrain.core.component import facts_of
from gantrain.networks import NETWORKS

SMALL = {
    "unet": {"width": 4, "levels": 4},
    "pretrained_unet": {"backbone": "mobilenetv3_small_050", "width": 4},
    "resnet": {"width": 4, "blocks": 2},
    "encoder_decoder": {"widths": (4, 8, 8)},
    "coarse_to_fine": {
        "width": 4,
        "downsampling": 2,
        "blocks": 1,
        "enhancer": True,
        "fine_blocks": 1,
    },
    "spade": {"width": 2, "hidden": 4},
    "patchgan": {"width": 4, "layers": 2},
    "pixel": {"width": 4},
    "multiscale_patchgan": {"width": 4, "layers": 2, "scales": 3},
    "whole_image": {"widths": (4, 8, 8)},
    "projected": {"backbone": "mobilenetv3_small_050", "width": 4, "size": 128},
}
GENERATORS = [n for n, cls in NETWORKS.items() if "out_channels" in facts_of(cls)]
DISCRIMINATORS = [n for n in NETWORKS if n not in GENERATORS]
assert GENERATORS, "no generator to test"
assert DISCRIMINATORS, "no discriminator to test"


def takes(name: str, option: str) -> bool:
    return option in inspect.signature(NETWORKS[name]).parameters


def small(name: str, **options) -> nn.Module:
    """The network from 3 to 2 channels (a discriminator of 3), with fixed weights."""
    torch.manual_seed(0)
    facts = {"in_channels": 3, "out_channels": 2, "style_channels": 0, "image_channels": 3}
    facts = {fact: facts[fact] for fact in facts_of(NETWORKS[name])}
    return NETWORKS[name](**facts, **(SMALL.get(name, {}) | options))


def deterministic(name: str, **options) -> nn.Module:
    """The same without dropout."""
    if takes(name, "dropout"):
        options = {"dropout": 0.0} | options
    return small(name, **options)


def images(height: int = 48, width: int = 32, batch: int = 2, **like) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    draws = torch.rand(batch, 3, height, width, generator=generator, dtype=torch.float64)
    return (draws * 2 - 1).to(**({"dtype": torch.float32} | like))


def flat(output) -> list[Tensor]:
    """All tensors of a generator's or discriminator's output."""
    if isinstance(output, Tensor):
        return [output]
    return [feature for scale in output for feature in scale]

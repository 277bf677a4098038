"""Generators and discriminators. Each works without the rest of gantrain.

A generator is built with (in_channels, out_channels). One that also takes a style is built with
(in_channels, out_channels, style_channels). A discriminator is built with (in_channels), or with
(in_channels, image_channels) if it sees only the image of a pair. `protocol.py` has what gantrain
asks of them beyond that, with defaults.
"""

from torch import nn

from gantrain.networks.coarse_to_fine import CoarseToFine
from gantrain.networks.cut_projection import Projection
from gantrain.networks.patchgan import MultiscalePatchGAN, PatchGAN, PixelDiscriminator
from gantrain.networks.pretrained_unet import PretrainedUNet
from gantrain.networks.projected_gan import ProjectedDiscriminator
from gantrain.networks.protocol import Discriminator, Generator
from gantrain.networks.resnet import ResNet
from gantrain.networks.spade import SPADEGenerator
from gantrain.networks.survey import EncoderDecoder, WholeImageDiscriminator
from gantrain.networks.unet import UNet

NETWORKS: dict[str, type[nn.Module]] = {
    "unet": UNet,
    "pretrained_unet": PretrainedUNet,
    "resnet": ResNet,
    "encoder_decoder": EncoderDecoder,
    "coarse_to_fine": CoarseToFine,
    "spade": SPADEGenerator,
    "patchgan": PatchGAN,
    "pixel": PixelDiscriminator,
    "multiscale_patchgan": MultiscalePatchGAN,
    "whole_image": WholeImageDiscriminator,
    "projected": ProjectedDiscriminator,
}

# The constructor parameters that the data or the method decide, for each kind of network.
GENERATOR = (("in_channels", "out_channels"),)
STYLED_GENERATOR = (("in_channels", "out_channels", "style_channels"),)
DISCRIMINATOR = (("in_channels",), ("in_channels", "image_channels"))

__all__ = [
    "DISCRIMINATOR",
    "GENERATOR",
    "NETWORKS",
    "STYLED_GENERATOR",
    "CoarseToFine",
    "Discriminator",
    "EncoderDecoder",
    "Generator",
    "MultiscalePatchGAN",
    "PatchGAN",
    "PixelDiscriminator",
    "PretrainedUNet",
    "ProjectedDiscriminator",
    "Projection",
    "ResNet",
    "SPADEGenerator",
    "UNet",
    "WholeImageDiscriminator",
]

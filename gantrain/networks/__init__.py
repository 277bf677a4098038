"""Generators and discriminators; each works alone, without the rest of gantrain.

A generator is built with (in_channels, out_channels), one that takes a style too with (in_channels,
out_channels, style_channels). A discriminator is built with (in_channels), or with (in_channels,
image_channels) if it looks at the image alone where it is shown a pair."""

from torch import nn

from gantrain.networks.coarse_to_fine import CoarseToFine
from gantrain.networks.cut_projection import Projection
from gantrain.networks.patchgan import MultiscalePatchGAN, PatchGAN, PixelDiscriminator
from gantrain.networks.pretrained_unet import PretrainedUNet
from gantrain.networks.projected_gan import ProjectedDiscriminator
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

# What the data, or the method, decide of a network; tells the kinds apart.
GENERATOR = (("in_channels", "out_channels"),)
STYLED_GENERATOR = (("in_channels", "out_channels", "style_channels"),)
DISCRIMINATOR = (("in_channels",), ("in_channels", "image_channels"))

__all__ = ["DISCRIMINATOR", "GENERATOR", "NETWORKS", "STYLED_GENERATOR"]
__all__ += ["CoarseToFine", "EncoderDecoder", "PretrainedUNet", "ResNet", "SPADEGenerator", "UNet"]
__all__ += [
    "MultiscalePatchGAN",
    "PatchGAN",
    "PixelDiscriminator",
    "ProjectedDiscriminator",
    "WholeImageDiscriminator",
]
__all__ += ["Projection"]

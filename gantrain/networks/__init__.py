"""Generators and discriminators; each works alone, without the rest of gantrain.

A generator is built with (in_channels, out_channels), a discriminator with (in_channels).
"""

from torch import nn

from gantrain.networks.encoder_decoder import EncoderDecoder, WholeImageDiscriminator
from gantrain.networks.patchgan import MultiscalePatchGAN, PatchGAN, PixelDiscriminator
from gantrain.networks.projection import Projection
from gantrain.networks.resnet import ResNet
from gantrain.networks.unet import UNet

NETWORKS: dict[str, type[nn.Module]] = {
    "unet": UNet,
    "resnet": ResNet,
    "encoder_decoder": EncoderDecoder,
    "patchgan": PatchGAN,
    "pixel": PixelDiscriminator,
    "multiscale_patchgan": MultiscalePatchGAN,
    "whole_image": WholeImageDiscriminator,
}

# What the data decide of a generator and of a discriminator; tells the two kinds apart.
GENERATOR = ("in_channels", "out_channels")
DISCRIMINATOR = ("in_channels",)

__all__ = ["DISCRIMINATOR", "GENERATOR", "NETWORKS"]
__all__ += ["EncoderDecoder", "ResNet", "UNet"]
__all__ += ["MultiscalePatchGAN", "PatchGAN", "PixelDiscriminator", "WholeImageDiscriminator"]
__all__ += ["Projection"]

"""Recognisers of other projects' networks.

A new one is a function in a file of this package and one line in the table.
"""

from collections.abc import Callable

from gantrain.importers import discriminators, junyanz, pix2pixhd, spade
from gantrain.importers.layout import Layout, State

# Each returns None, or raises KeyError or IndexError, for a file of another network.
RECOGNISERS: dict[str, Callable[[State], Layout | None]] = {
    "U-Net of pytorch-CycleGAN-and-pix2pix": junyanz.unet,
    "ResNet of pytorch-CycleGAN-and-pix2pix and CUT": junyanz.resnet,
    "PatchGAN of pytorch-CycleGAN-and-pix2pix and CUT": discriminators.patchgan,
    "pixel discriminator of pytorch-CycleGAN-and-pix2pix": discriminators.pixel,
    "projection F of CUT": junyanz.projection,
    "global and local generator of pix2pixHD": pix2pixhd.coarse_to_fine,
    "discriminators of pix2pixHD": discriminators.pix2pixhd,
    "generator of SPADE": spade.generator,
    "discriminators of SPADE": discriminators.spade,
    "encoder of SPADE": spade.encoder,
}

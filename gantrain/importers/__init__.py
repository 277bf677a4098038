"""Layouts of other projects' networks. A new one is a function in a file here and one line in
the table.
"""

from collections.abc import Callable

from gantrain.importers import discriminators, junyanz, pix2pixhd, spade
from gantrain.importers.layout import Found, State

# Each gives None, or fails for want of a key, where the file isn't its own.
RECOGNISERS: dict[str, Callable[[State], Found | None]] = {
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

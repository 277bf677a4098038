"""Layouts of other projects' generators. A new one is a function in a file here and one line in the table."""

from collections.abc import Callable

from gantrain.importers.junyanz import resnet, unet
from gantrain.importers.layout import Found, State
from gantrain.importers.pix2pixhd import coarse_to_fine
from gantrain.importers.spade import spade

# Each gives None, or fails for want of a key, where the file isn't its own.
RECOGNISERS: dict[str, Callable[[State], Found | None]] = {
    "U-Net of pytorch-CycleGAN-and-pix2pix": unet,
    "ResNet of pytorch-CycleGAN-and-pix2pix and CUT": resnet,
    "global and local generator of pix2pixHD": coarse_to_fine,
    "generator of SPADE": spade,
}

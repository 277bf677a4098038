"""The methods, one file for each paper. A new method is one file here and one line in the table."""

from gantrain.methods.base import Method
from gantrain.methods.cut import CUT
from gantrain.methods.cyclegan import CycleGAN
from gantrain.methods.pix2pix import Pix2Pix
from gantrain.methods.pix2pixhd import Pix2PixHD
from gantrain.methods.spade import SPADE
from gantrain.methods.survey import Survey

METHODS: dict[str, type[Method]] = {
    "pix2pix": Pix2Pix,
    "survey": Survey,
    "cyclegan": CycleGAN,
    "cut": CUT,
    "pix2pixhd": Pix2PixHD,
    "spade": SPADE,
}

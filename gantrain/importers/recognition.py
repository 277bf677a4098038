"""Find out which method the networks of files make up."""

import re
from collections.abc import Sequence
from pathlib import Path

import torch

from gantrain.core.component import build
from gantrain.core.errors import UserError
from gantrain.importers.reading import Network, read
from gantrain.methods import METHODS
from gantrain.methods.base import Method
from gantrain.methods.cut import LAYERS

# CycleGAN's networks of the reverse direction, by those of the forward direction of the same role.
_REVERSE = {"generator": "generator_back", "discriminator": "discriminator_source"}
_REVERSE_FILE = re.compile("net_[GD]_B$")
_USUAL_FILES = {"encoder": "latest_net_E.pth", "generator_back": "latest_net_G_B.pth"}
# Smaller residual generators than CUT's lack the block whose features its last layer takes.
_LAST_CUT_LAYER = "block4"
_LAST_CUT_BLOCK = 4


def read_networks(
    files: Sequence[Path],
    *,
    norm: str | None = None,
    upsampling: str | None = None,
    both: bool = False,
) -> dict[str, Network]:
    """Read the files' networks, by their names in our methods.

    The usual names of files distinguish the two directions of CycleGAN. both: networks of the
    reverse direction keep their names even where no network of the forward direction is given;
    otherwise they count as the forward direction. norm, upsampling: as in ImportOptions. Raises
    UserError, in one line.
    """
    networks: dict[str, Network] = {}
    for file in files:
        network = read(file, norm, upsampling)
        name = network.layout.role
        if _REVERSE_FILE.search(file.stem):
            name = _REVERSE.get(name, name)
        if name in networks:
            raise UserError(
                f"import: {networks[name].file} and {file} are both a {name}, allowed: one of each"
                " network; CycleGAN's differ by their files' names, such as latest_net_G_A.pth and"
                " latest_net_G_B.pth"
            )
        networks[name] = network
    has_forward = any(name in networks for name in _REVERSE)
    if both or has_forward:
        return networks
    return {network.layout.role: network for network in networks.values()}


def choose_method(networks: dict[str, Network]) -> dict[str, object]:
    """Return the method, as a component, that has these networks.

    Raises UserError where there is no generator.
    """
    if "generator" not in networks:
        files = ", ".join(str(network.file) for network in networks.values())
        raise UserError(
            f"import: found {', '.join(networks)} in {files}, but no generator; give its file too,"
            " as in gantrain import latest_net_G.pth latest_net_D.pth --out FOLDER"
        )
    method = _method_of(networks)
    for role, reverse in _REVERSE.items():
        network = networks.get(role) or networks.get(reverse)
        if network is not None:
            method[role] = network.layout.component
    return method


def _method_of(networks: dict[str, Network]) -> dict[str, object]:
    """Return the method without its networks."""
    layout = networks["generator"].layout
    keeps_channels = layout.data_dims["in_channels"] == layout.data_dims["out_channels"]
    if layout.component["name"] == "spade":
        return {"name": "spade", "style": "vae" if "style_channels" in layout.data_dims else "none"}
    if any(name in networks for name in _REVERSE.values()):
        method: dict[str, object] = {"name": "cyclegan"}
        if not keeps_channels:  # then a generator cannot translate an image of its own target
            method["identity"] = 0.0
        return method
    if layout.component["name"] == "resnet" and keeps_channels and _is_unconditional(networks):
        return _cut(networks)
    return {"name": "pix2pix"}


def _is_unconditional(networks: dict[str, Network]) -> bool:
    """Return whether the discriminator sees no source, as CUT's and CycleGAN's."""
    if "projection" in networks:
        return True
    if "discriminator" not in networks:
        return False
    seen = networks["discriminator"].layout.data_dims["in_channels"]
    target: int = networks["generator"].layout.data_dims["out_channels"]
    return bool(seen == target)


def _cut(networks: dict[str, Network]) -> dict[str, object]:
    """Return CUT, which also stands for one direction of CycleGAN."""
    blocks = networks["generator"].layout.component["blocks"]
    layers = list(LAYERS)
    if blocks <= _LAST_CUT_BLOCK:
        layers = [name for name in layers if name != _LAST_CUT_LAYER]
    method: dict[str, object] = {"name": "cut", "layers": layers}
    if "projection" in networks:
        method["projection_width"] = networks["projection"].layout.component["width"]
    return method


def build_checked(
    networks: dict[str, Network], component: dict[str, object], channels: dict[str, int]
) -> Method:
    """Build the method on the meta device, without memory for its weights.

    channels: those of source and target. Raises UserError unless the networks are the method's,
    and are all that translation needs.
    """
    with torch.device("meta"):
        method: Method = build(METHODS, component, **channels)
    generator = networks["generator"]
    for name, network in networks.items():
        if not _fits(networks, name, method):
            raise UserError(
                f"import: {network.file}, a {network}, doesn't fit {generator.file}, a"
                f" {generator}; give files of one model"
            )
    for name in method.inference:
        if name not in networks:
            raise UserError(
                f"import: beside {generator.file} there is no {name}; give its file too, such as"
                f" {_USUAL_FILES[name]}"
            )
    return method


def _fits(networks: dict[str, Network], name: str, method: Method) -> bool:
    """Return whether a file's network is the method's, and like that of the forward direction."""
    network = networks[name]
    forward = networks.get(network.layout.role, network)
    if network.layout.component != forward.layout.component:
        return False
    if name not in method.networks:
        return not network.tensors
    expected = method.networks[name].state_dict()
    shapes = {key: tensor.shape for key, tensor in network.tensors.items()}
    return shapes == {key: tensor.shape for key, tensor in expected.items()}

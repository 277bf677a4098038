"""Find out which method the networks of files make up."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from gantrain.core.component import build
from gantrain.core.errors import UserError
from gantrain.importers.layout import (
    BACK_GENERATOR_ROLE,
    DISCRIMINATOR_ROLE,
    ENCODER_ROLE,
    GENERATOR_ROLE,
    PROJECTION_ROLE,
)
from gantrain.importers.reading import NetworkFile, read
from gantrain.methods import METHODS
from gantrain.methods.base import Method
from gantrain.methods.cut import LAYERS
from gantrain.methods.network_roles import NetworkRole

NetworkFiles = Mapping[NetworkRole, NetworkFile]

_REVERSE_FILE = re.compile("net_[GD]_B$")  # of CycleGAN's networks of the reverse direction
_USUAL_FILES = {ENCODER_ROLE: "latest_net_E.pth", BACK_GENERATOR_ROLE: "latest_net_G_B.pth"}
# Smaller residual generators than CUT's lack the block whose features its last layer takes.
_LAST_CUT_LAYER = "block4"
_LAST_CUT_BLOCK = 4


def read_networks(
    files: Sequence[Path],
    *,
    norm: str | None = None,
    upsampling: str | None = None,
    both: bool = False,
) -> dict[NetworkRole, NetworkFile]:
    """Read the files' networks, by what they do in a method.

    The usual names of files distinguish the two directions of CycleGAN. both: networks of the
    reverse direction stay so even where no network of the forward direction is given; otherwise
    they count as the forward direction. norm, upsampling: as in ImportOptions. Raises UserError, in
    one line.
    """
    networks: dict[NetworkRole, NetworkFile] = {}
    for file in files:
        network = read(file, norm, upsampling)
        role = network.layout.role
        if _REVERSE_FILE.search(file.stem):
            role = replace(role, back=True)
        if role in networks:
            raise UserError(
                f"import: {networks[role].file} and {file} are both a {role}, allowed: one of each"
                " network; CycleGAN's differ by their files' names, such as latest_net_G_A.pth and"
                " latest_net_G_B.pth"
            )
        networks[role] = network
    has_forward = GENERATOR_ROLE in networks or DISCRIMINATOR_ROLE in networks
    if both or has_forward:
        return networks
    return {network.layout.role: network for network in networks.values()}


def choose_method(networks: NetworkFiles) -> dict[str, object]:
    """Return the method, as a component, that has these networks.

    Raises UserError where there is no generator.
    """
    if GENERATOR_ROLE not in networks:
        files = ", ".join(str(network.file) for network in networks.values())
        raise UserError(
            f"import: found {', '.join(map(str, networks))} in {files}, but no generator; give its"
            " file too, as in gantrain import latest_net_G.pth latest_net_D.pth --out FOLDER"
        )
    method = _method_of(networks)
    for role in (GENERATOR_ROLE, DISCRIMINATOR_ROLE):
        network = networks.get(role) or networks.get(replace(role, back=True))
        if network is not None:
            method[role.kind] = network.layout.component
    return method


def _method_of(networks: NetworkFiles) -> dict[str, object]:
    """Return the method without its networks."""
    layout = networks[GENERATOR_ROLE].layout
    keeps_channels = layout.data_dims["in_channels"] == layout.data_dims["out_channels"]
    if layout.component["name"] == "spade":
        return {"name": "spade", "style": "vae" if "style_channels" in layout.data_dims else "none"}
    if any(role.back for role in networks):
        method: dict[str, object] = {"name": "cyclegan"}
        if not keeps_channels:  # then a generator cannot translate an image of its own target
            method["identity"] = 0.0
        return method
    if layout.component["name"] == "resnet" and keeps_channels and _is_unconditional(networks):
        return _cut(networks)
    return {"name": "pix2pix"}


def _is_unconditional(networks: NetworkFiles) -> bool:
    """Return whether the discriminator sees no source, as CUT's and CycleGAN's."""
    if PROJECTION_ROLE in networks:
        return True
    if DISCRIMINATOR_ROLE not in networks:
        return False
    seen = networks[DISCRIMINATOR_ROLE].layout.data_dims["in_channels"]
    target: int = networks[GENERATOR_ROLE].layout.data_dims["out_channels"]
    return bool(seen == target)


def _cut(networks: NetworkFiles) -> dict[str, object]:
    """Return CUT, which also stands for one direction of CycleGAN."""
    blocks = networks[GENERATOR_ROLE].layout.component["blocks"]
    layers = list(LAYERS)
    if blocks <= _LAST_CUT_BLOCK:
        layers = [name for name in layers if name != _LAST_CUT_LAYER]
    method: dict[str, object] = {"name": "cut", "layers": layers}
    if PROJECTION_ROLE in networks:
        method["projection_width"] = networks[PROJECTION_ROLE].layout.component["width"]
    return method


def build_checked(
    networks: NetworkFiles, component: dict[str, object], channels: dict[str, int]
) -> tuple[Method, dict[str, NetworkFile]]:
    """Build the method on the meta device, without memory for its weights.

    channels: those of source and target. Returns the method, and the files' networks by their names
    in it. Raises UserError unless the networks are the method's, and are all that translation
    needs.
    """
    with torch.device("meta"):
        method: Method = build(METHODS, component, **channels)
    generator = networks[GENERATOR_ROLE]
    named: dict[str, NetworkFile] = {}
    for role, network in networks.items():
        name = method.network_in_role(role)
        # A network of the reverse direction is like that of the forward direction.
        forward = networks.get(network.layout.role, network)
        is_alike = network.layout.component == forward.layout.component
        if name is None or not is_alike or not _fits(network, method, name):
            raise UserError(
                f"import: {network.file}, a {network}, doesn't fit {generator.file}, a"
                f" {generator}; give files of one model"
            )
        named[name] = network
    for name in method.inference:
        if name not in named:
            usual_file = _USUAL_FILES.get(method.role_of(name))
            example = f", such as {usual_file}" if usual_file else ""
            raise UserError(
                f"import: beside {generator.file} there is no {name}; give its file too{example}"
            )
    return method, named


def _fits(network: NetworkFile, method: Method, name: str) -> bool:
    """Return whether a file has the tensors of the method's network of that name."""
    expected = method.networks[name].state_dict()
    shapes = {key: tensor.shape for key, tensor in network.tensors.items()}
    return shapes == {key: tensor.shape for key, tensor in expected.items()}

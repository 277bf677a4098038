"""The layout of a network in another project's file, and the layers that several projects share."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gantrain.core.component import Options
from gantrain.methods.network_roles import NetworkRole

State = Mapping[str, Tensor]
Names = dict[str, str]  # of modules, from theirs to ours

# What the networks of other projects do in our methods.
GENERATOR_ROLE = NetworkRole("generator")
BACK_GENERATOR_ROLE = NetworkRole("generator", back=True)
DISCRIMINATOR_ROLE = NetworkRole("discriminator")
ENCODER_ROLE = NetworkRole("encoder")  # of styles
PROJECTION_ROLE = NetworkRole("projection")  # of features

# The layers of a residual block, in their order: ours by name, None for those without tensors.
_BLOCK = (
    None,  # padding
    "first.0",  # convolution
    "first.1",  # norm
    None,  # ReLU
    None,  # padding
    "second.0",
    "second.1",
)
_BLOCK_WITH_DROPOUT = (*_BLOCK[:4], None, *_BLOCK[4:])


@dataclass(frozen=True)
class Layout:
    """A network as a component of our recipes, with what maps its file to ours.

    component: the network and its options. data_dims: what its constructor takes from the data.
    names: our name of each of its modules; names of modules without tensors, such as an instance
    norm, do no harm. role: what it does in our methods, in the forward direction.
    """

    component: Options
    data_dims: dict[str, Any]
    names: Names
    role: NetworkRole = GENERATOR_ROLE


class SequentialNames:
    """The names of an nn.Sequential's layers, which its file knows by their index.

    prefix: the Sequential's own name in the file.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.names: Names = {}
        self._next = 0

    def add(self, *layers: str | None) -> None:
        """Add layers in their order: our name of each, or None for a layer without tensors."""
        for ours in layers:
            if ours is not None:
                self.names[f"{self.prefix}.{self._next}"] = ours
            self._next += 1

    def weight_of(self, ours: str, state: State) -> Tensor:
        """Return the weight of the layer that has our name. Raises KeyError where it is missing."""
        (theirs,) = [theirs for theirs, name in self.names.items() if name == ours]
        return state[f"{theirs}.weight"]

    def add_residual_block(self, ours: str, dropout: bool) -> None:
        """Add a residual block, whose layers are a Sequential `conv_block` of its own."""
        inner = SequentialNames(f"{self.prefix}.{self._next}.conv_block")
        for layer in _BLOCK_WITH_DROPOUT if dropout else _BLOCK:
            inner.add(None if layer is None else f"{ours}.{layer}")
        self.names |= inner.names
        self.add(None)


def residual_generator(
    sequential: SequentialNames,
    downs: Iterable[str],
    blocks: Iterable[str],
    ups: Iterable[str],
    *,
    antialias: bool = False,
    resize: bool = False,
    dropout: bool = False,
) -> None:
    """Add down-sampling layers, residual blocks and up-sampling layers, by our names of each.

    Each down-sampling or up-sampling layer is a convolution, a norm and a ReLU. antialias: a blur
    follows each of `downs` but the first. resize: a resize precedes the convolutions of `ups`, in
    ours too. dropout: the residual blocks have dropout.
    """
    for number, ours in enumerate(downs):
        sequential.add(f"{ours}.0", f"{ours}.1", None)
        if antialias and number > 0:
            sequential.add(None)
    for ours in blocks:
        sequential.add_residual_block(ours, dropout)
    for ours in ups:
        if resize:
            sequential.add(None, f"{ours}.0.1", f"{ours}.1", None)
        else:
            sequential.add(f"{ours}.0", f"{ours}.1", None)


def norm(state: State, biased: int = 0) -> str:
    """Return the norm of a network.

    biased: the number of its biases with any norm. With instance norm each convolution before a
    norm has one more.
    """
    if any(key.endswith(".running_mean") for key in state):
        return "batch"
    biases = sum(key.endswith(".bias") for key in state)
    return "instance" if biases > biased else "none"


def residual_blocks(state: State) -> list[int]:
    """Return the indices of the residual blocks in `model`."""
    indices = []
    for key in state:
        match = re.fullmatch(r"model\.(\d+)\.conv_block\.1\.weight", key)
        if match:
            indices.append(int(match[1]))
    return sorted(indices)


def count_convolutions(state: State, end: int) -> int:
    """Return the number of convolutions in `model` before the index `end`."""
    weights = [state.get(f"model.{index}.weight") for index in range(end)]
    return sum(weight is not None and weight.ndim == 4 for weight in weights)


def has_dropout(state: State, block: int) -> bool:
    """Return whether the residual block at that index of `model` has dropout.

    Dropout moves the second convolution to the index at which the norm stands without dropout.
    """
    key = f"model.{block}.conv_block.6.weight"
    return key in state and state[key].ndim == 4

"""What a recogniser finds in a file, and the order of layers that several projects share."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

State = Mapping[str, Tensor]
Names = dict[str, str]  # of modules, from theirs to ours


@dataclass(frozen=True)
class Found:
    """A network as a component of our recipes, what its constructor takes from the data, and its
    modules' names.

    Names of modules that have no tensors, such as an instance norm's, do no harm. role: its name in
    our methods."""

    component: dict[str, Any]
    facts: dict[str, Any]
    names: Names
    role: str = "generator"


def norm(state: State, biased: int = 0) -> str:
    """What norm there is. biased: how many biases there are with any; theirs add one before each
    instance norm.
    """
    if any(key.endswith(".running_mean") for key in state):
        return "batch"
    return "instance" if sum(key.endswith(".bias") for key in state) > biased else "none"


def residual_blocks(state: State) -> list[int]:
    """Where the residual blocks stand in `model`."""
    matches = (re.fullmatch(r"model\.(\d+)\.conv_block\.1\.weight", key) for key in state)
    return sorted(int(match[1]) for match in matches if match)


def downs_before(state: State, block: int) -> int:
    """Convolutions in `model` before that place, the first one included."""
    return sum(state[key].ndim == 4 for i in range(block) if (key := f"model.{i}.weight") in state)


def has_dropout(state: State, block: int) -> bool:
    """Whether dropout has moved the second convolution of the block at that place on by one,
    where else a norm is.
    """
    key = f"model.{block}.conv_block.6.weight"
    return key in state and state[key].ndim == 4


def chain(
    prefix: str,
    downs: Iterable[str],
    blocks: Iterable[str],
    ups: Iterable[str],
    *,
    start: int = 1,
    antialias: bool = False,
    smooth: bool = False,
    dropout: bool = False,
) -> tuple[Names, int]:
    """Names of a Sequential of convolution, norm and ReLU (`downs`, `ups`: ours) around residual
    blocks.

    start: the first convolution's place, behind its padding. antialias: a blur comes after each of
    `downs` but the first. smooth: a resize stands before the convolutions of `ups`, in ours too.
    Returns the place after them as well."""
    names: Names = {}
    at = start
    for i, ours in enumerate(downs):
        names |= {f"{prefix}.{at}": f"{ours}.0", f"{prefix}.{at + 1}": f"{ours}.1"}
        at += 4 if antialias and i else 3
    for ours in blocks:
        for part, theirs in (("first", 1), ("second", 6 if dropout else 5)):
            inside = f"{prefix}.{at}.conv_block"
            names |= {
                f"{inside}.{theirs}": f"{ours}.{part}.0",
                f"{inside}.{theirs + 1}": f"{ours}.{part}.1",
            }
        at += 1
    for ours in ups:
        at += smooth
        names |= {
            f"{prefix}.{at}": f"{ours}.0.1" if smooth else f"{ours}.0",
            f"{prefix}.{at + 1}": f"{ours}.1",
        }
        at += 3
    return names, at

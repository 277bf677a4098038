"""Gradient checkpointing (Chen et al. 2016, arXiv 1604.06174): memory for time, and the same bits.

A network's layers keep their inputs alone; the backward pass computes again what lies between.
Names in checkpoints stay as they are."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint


def recompute(network: nn.Module) -> None:
    """Have each layer of `network` computed again in the backward pass."""
    for layer in _layers(network):
        if next(layer.parameters(), None) is not None:
            again: Any = partial(checkpoint, layer.forward, use_reentrant=False)
            layer.forward = again


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """Blocks, or Sequentials of a convolution and what follows it: the children, and those of
    lists of such.
    """
    for child in module.children():
        inside = list(child.children())
        if isinstance(child, nn.ModuleList) or (
            isinstance(child, nn.Sequential) and _is_nested(inside)
        ):
            yield from _layers(child)
        else:
            yield child


def _is_nested(layers: list[nn.Module]) -> bool:
    """Whether these are layers of layers, rather than a convolution, its norm and its
    activation.
    """
    return all(any(True for _ in layer.children()) for layer in layers)

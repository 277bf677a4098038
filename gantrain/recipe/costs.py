"""Counts what a run needs in memory and on the disk, on a method without storage."""

import contextlib
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from gantrain.core.amounts import bytes_text
from gantrain.core.errors import UserError
from gantrain.core.threads import local_ranks
from gantrain.methods.base import Method
from gantrain.recipe.field_types import images_in
from gantrain.recipe.schema import Recipe

GIB = 2**30
_MOMENTS = 2  # Adam keeps two numbers for each trained one
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Memory:
    """Bytes of one rank that do not depend on the batch."""

    weights: int
    average: int
    gradients: int
    optimizers: int

    @property
    def total(self) -> int:
        return self.weights + self.average + self.gradients + self.optimizers

    def __str__(self) -> str:
        counts = {
            "weights": self.weights,
            "averaged weights": self.average,
            "gradients": self.gradients,
            "optimisers": self.optimizers,
        }
        listed = [f"{name} {bytes_text(count)}" for name, count in counts.items() if count]
        return f"{bytes_text(self.total)} per rank ({', '.join(listed)}), not counting the images"


def count_memory(method: Method, item_bytes: int, sharded_over: int = 1) -> Memory:
    """Count the memory of a method that is trained.

    item_bytes: of one number. sharded_over: the ranks that share the optimisers' states, by ZeRO.
    """
    weights = item_bytes * _count([*method.parameters(), *method.buffers()])
    trained = item_bytes * _count(p for p in method.networks.parameters() if p.requires_grad)
    return Memory(weights, weights, trained, _MOMENTS * trained // sharded_over)


def count_weights(method: Method) -> Memory:
    """Count the memory of a model that only translates, in float32."""
    weights = 4 * _count([*method.parameters(), *method.buffers()])
    return Memory(weights, average=0, gradients=0, optimizers=0)


def checkpoint_bytes(method: Method, recipe: Recipe, item_bytes: int) -> int:
    """Return the size of one checkpoint: networks, averaged networks and optimisers' states.

    Image pools are not counted.
    """
    networks = _count_network(method.networks)
    averaged = 0
    if recipe.ema.half_life is not None:
        averaged = sum(_count_network(method.networks[name]) for name in method.inference)
    trained = _count(p for p in method.networks.parameters() if p.requires_grad)
    return item_bytes * (networks + averaged + _MOMENTS * trained)


def describe_run(recipe: Recipe, epoch: int, images: int, checkpoint: int) -> list[str]:
    """Return lines for a dry run.

    epoch: images in one epoch. images: of the run. checkpoint: bytes of one checkpoint.
    """
    interval = max(images_in(recipe.checkpoint.every, epoch), recipe.batch_size)
    written = max(1, math.ceil(images / interval))
    best = 0  # nothing is measured without held-out data
    if recipe.data.validation is not None:
        best = recipe.checkpoint.best
    remaining = min(written, recipe.checkpoint.keep + best)
    return [
        f"checkpoints: about {written:,} of {bytes_text(checkpoint)} each, of which {remaining:,}"
        f" stay: {bytes_text(remaining * checkpoint)} on the disk"
    ]


def check_memory(memory: Memory, device: torch.device) -> None:
    """Raise UserError where the weights alone are too many for this machine."""
    available, place = _memory_of(device)
    ranks = local_ranks() if device.type == "cpu" else 1
    if memory.total * ranks > available:
        several = f", on each of {ranks} ranks" if ranks > 1 else ""
        raise UserError(
            f"method: the networks need {memory}{several}, and {place} has {bytes_text(available)};"
            " choose smaller ones (a lower width, fewer levels, layers or blocks)"
        )


def _memory_of(device: torch.device) -> tuple[int, str]:
    """Return the bytes of the device, or those that this process may use, and the device's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory, "this GPU"
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):  # there is no such file, or it says "max"
        available = min(available, int(_CGROUP_LIMIT.read_text()))  # of a container
    return available, "this machine"


def _count_network(network: nn.Module) -> int:
    return _count([*network.parameters(), *network.buffers()])


def _count(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)

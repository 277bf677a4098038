"""What a run costs in memory and on the disk, counted on a method without storage before the
real one is built.
"""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from gantrain.core.amounts import bytes_text
from gantrain.core.world import local_ranks
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
        parts = {
            "weights": self.weights,
            "averaged weights": self.average,
            "gradients": self.gradients,
            "optimisers": self.optimizers,
        }
        named = [f"{name} {bytes_text(count)}" for name, count in parts.items() if count]
        return f"{bytes_text(self.total)} per rank ({', '.join(named)}), not counting the images"


def count_memory(method: Method, item_bytes: int, sharded_over: int = 1) -> Memory:
    """item_bytes: of one number. sharded_over: the ranks that share the optimisers' states, by
    ZeRO.
    """
    weights = item_bytes * _count([*method.parameters(), *method.buffers()])
    trained = item_bytes * _count(p for p in method.networks.parameters() if p.requires_grad)
    return Memory(weights, weights, trained, _MOMENTS * trained // sharded_over)


def count_weights(method: Method) -> Memory:
    """Count the memory of a model that only translates, in float32."""
    return Memory(
        4 * _count([*method.parameters(), *method.buffers()]), average=0, gradients=0, optimizers=0
    )


def checkpoint_bytes(method: Method, recipe: Recipe, item_bytes: int) -> int:
    """The size of one checkpoint: networks, the averaged ones, and the optimisers' states; pools
    are not counted.
    """
    networks = _count_network(method.networks)
    averaged = 0
    if recipe.ema.half_life is not None:
        averaged = sum(_count_network(method.networks[name]) for name in method.inference)
    trained = _count(p for p in method.networks.parameters() if p.requires_grad)
    return item_bytes * (networks + averaged + _MOMENTS * trained)


def describe_run(recipe: Recipe, epoch: int, images: int, checkpoint: int) -> list[str]:
    """Lines for a dry run. epoch: images in one. images: of the run. checkpoint: bytes of one."""
    interval = images_in(recipe.checkpoint.every, epoch)
    written = max(1, -(-images // max(interval, recipe.batch_size)))
    best = (
        recipe.checkpoint.best if recipe.data.validation is not None else 0
    )  # nothing is measured without
    kept = min(written, recipe.checkpoint.keep + best)
    return [
        f"checkpoints: about {written:,} of {bytes_text(checkpoint)} each, of which {kept:,} stay: "
        f"{bytes_text(kept * checkpoint)} on the disk"
    ]


def check_memory(memory: Memory, device: torch.device) -> None:
    """Raises ValueError where the weights alone are too many for this machine."""
    here, where = _memory_of(device)
    ranks = local_ranks() if device.type == "cpu" else 1
    if memory.total * ranks > here:
        several = f", on each of {ranks} ranks" if ranks > 1 else ""
        raise ValueError(
            f"method: the networks need {memory}{several}, and {where} has {bytes_text(here)};"
            " choose smaller ones (a lower width, fewer levels, layers or blocks)"
        )


def _memory_of(device: torch.device) -> tuple[int, str]:
    """The bytes that the device has, or that this process may use, and how to call it."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory, "this GPU"
    here = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):  # there is no such file, or it says "max"
        here = min(here, int(_CGROUP_LIMIT.read_text()))  # of a container
    return here, "this machine"


def _count_network(network: nn.Module) -> int:
    return _count([*network.parameters(), *network.buffers()])


def _count(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)

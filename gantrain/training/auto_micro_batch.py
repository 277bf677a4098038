"""`micro_batch_size: auto`: the most images for which the real step fits into memory."""

import gc

import torch

from gantrain.core.amounts import count_text
from gantrain.methods.base import Context
from gantrain.training import batch_split
from gantrain.training.setup import RunSetup

_KEEPS_FORWARD = (
    "; with method.order=discriminator_first and one backward pass in a step, the generator's graph"
    " takes memory while the discriminators train"
)


def largest_micro_batch(setup: RunSetup) -> int:
    """Return the largest micro-batch whose step fits on all ranks, or 1.

    Every rank calls it and tries the step with networks that it throws away. On CPU it returns all
    of the rank's images: there the system would kill the process instead of refusing memory.
    """
    per_rank = setup.data.split.per_rank
    world = setup.world
    if world.device.type != "cuda":
        return per_rank
    for micro_batch_size in batch_split.divisors(per_rank):
        if micro_batch_size > 1 and all(world.gather(_fits(setup, micro_batch_size))):
            return micro_batch_size
    return 1


def _fits(setup: RunSetup, micro_batch_size: int) -> bool:
    # Two micro-batches hold as much as many: images add little beside activations.
    count = min(2, setup.data.split.per_rank // micro_batch_size)
    try:
        _step(setup, micro_batch_size, count)
    except torch.OutOfMemoryError:
        return False
    finally:
        gc.collect()
        torch.cuda.empty_cache()
    return True


def _step(setup: RunSetup, micro_batch_size: int, count: int) -> None:
    """Run a step of `count` micro-batches; its tensors are gone when it returns."""
    engine = setup.engine(distributed=False)
    batch = setup.batch(setup.data.zeros(micro_batch_size))
    positions = tuple(range(micro_batch_size))
    context = Context(setup.recipe.seed, 0, setup.recipe.batch_size, positions)
    engine.step([batch] * count, [context] * count, dict.fromkeys(setup.settings, 0.0))
    torch.cuda.synchronize()


def describe_out_of_memory(split: batch_split.BatchLayout, keeps_forward: bool) -> str:
    """Describe a step that did not fit into memory, and name what would take less.

    keeps_forward: whether the step keeps the generator's graph while the discriminators train.
    """
    smaller = [
        size for size in batch_split.divisors(split.per_rank) if size < split.micro_batch_size
    ]
    advice = f"micro_batch_size={smaller[0]}, or auto" if smaller else "a smaller data.size"
    return (
        f"out of memory with {count_text(split.micro_batch_size, 'image')} per backward pass; try"
        f" {advice}{_KEEPS_FORWARD if keeps_forward else ''}"
    )

"""`micro_batch_size: auto`: the most images for which the real step fits into memory."""

import gc

import torch

from gantrain.core.amounts import count_text
from gantrain.methods.base import Context
from gantrain.training import batch_split
from gantrain.training.setup import Assembly


def largest_micro_batch(parts: Assembly) -> int:
    """Tries the step of throw-away networks, on every rank; all agree on what fits on all, or on
    one image.

    On CPU all of the rank's images: there the system would kill the process, not refuse.
    """
    per_rank, world = parts.split.per_rank, parts.world
    if world.device.type != "cuda":
        return per_rank
    return next(
        m for m in batch_split.divisors(per_rank) if m == 1 or all(world.gather(_fits(parts, m)))
    )


def _fits(parts: Assembly, micro: int) -> bool:
    # Two micro-batches hold as much as many: images add little beside activations.
    count = min(2, parts.split.per_rank // micro)
    try:
        _step(parts, micro, count)
    except torch.OutOfMemoryError:
        return False
    finally:
        gc.collect()
        torch.cuda.empty_cache()
    return True


def _step(parts: Assembly, micro: int, count: int) -> None:
    """Its tensors are gone when it returns, and with them their memory."""
    height, width = parts.recipe.data.size
    engine = parts.engine(distributed=False)
    fields = {
        parts.names[role]: torch.zeros((micro, height, width, field.channels), dtype=torch.uint8)
        for role, field in parts.fields.items()
    }
    batch = parts.batch(fields)
    context = Context(parts.recipe.seed, 0, parts.recipe.batch_size, tuple(range(micro)))
    engine.step([batch] * count, [context] * count, dict.fromkeys(parts.settings, 0.0))
    torch.cuda.synchronize()


def describe_out_of_memory(split: batch_split.BatchLayout) -> str:
    """Say that a step did not fit, and what would take less memory."""
    smaller = [
        size for size in batch_split.divisors(split.per_rank) if size < split.micro_batch_size
    ]
    advice = f"micro_batch_size={smaller[0]}, or auto" if smaller else "a smaller data.size"
    return (
        f"out of memory with {count_text(split.micro_batch_size, 'image')} per backward pass; try"
        f" {advice}"
    )

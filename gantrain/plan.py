"""How a batch is dealt to ranks and micro-batches, and what a run will take."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from gantrain.method import Method

_MIB = 2**20


@dataclass(frozen=True)
class Split:
    """batch_size = ranks x micro_batch_size x accumulation."""

    batch_size: int
    ranks: int
    micro_batch_size: int

    @property
    def local(self) -> int:
        return self.batch_size // self.ranks

    @property
    def accumulation(self) -> int:
        return self.local // self.micro_batch_size

    def slots(self, rank: int) -> range:
        """A rank's places in the batch; consecutive, so that each place is one rank's."""
        return range(rank * self.local, (rank + 1) * self.local)

    def __str__(self) -> str:
        ranks = f"{self.ranks} rank" + "s" * (self.ranks > 1)
        images = f"{self.micro_batch_size} image" + "s" * (self.micro_batch_size > 1)
        return f"batch {self.batch_size} = {ranks} x {images} x {self.accumulation} accumulation"


def divisors(n: int) -> list[int]:
    """Largest first."""
    return [d for d in range(n, 0, -1) if n % d == 0]


def split(batch_size: int, ranks: int, micro_batch_size: int | None) -> Split:
    """Raises ValueError with values that work where the numbers don't divide."""
    if batch_size % ranks:
        below, above = batch_size // ranks * ranks, -(-batch_size // ranks) * ranks
        works = " or ".join(str(b) for b in (below, above) if b)
        raise ValueError(
            f"batch_size: found {batch_size}, which {ranks} ranks can't share evenly; "
            f"batch_size={works} works, or {', '.join(map(str, divisors(batch_size)[:4]))} ranks"
        )
    local = batch_size // ranks
    micro = local if micro_batch_size is None else micro_batch_size
    if local % micro:
        raise ValueError(
            f"micro_batch_size: found {micro}, which does not divide a rank's {local} images "
            f"(batch {batch_size}, ranks: {ranks}); allowed: {', '.join(map(str, divisors(local)))}"
        )
    return Split(batch_size, ranks, micro)


def largest(local: int, fits: Callable[[int], bool]) -> int:
    """The largest micro-batch of `local` images that fits; at least one image."""
    return next((m for m in divisors(local) if m == 1 or fits(m)), 1)


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def memory(method: Method, averaged: bool) -> dict[str, float]:
    """MiB on each rank, but for activations."""
    size = {
        n: sum(p.numel() * p.element_size() for p in m.parameters()) / _MIB
        for n, m in method.networks.items()
    }
    weights = sum(size.values())
    return {
        "weights": weights,
        "gradients": weights,
        "optimiser": 2 * weights,
        "EMA": sum(size[n] for n in method.inference) if averaged else 0.0,
    }

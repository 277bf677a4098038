"""How a batch is dealt to ranks and micro-batches."""

from collections.abc import Sequence
from dataclasses import dataclass

from gantrain.core.amounts import count_text
from gantrain.core.errors import UserError


@dataclass(frozen=True)
class BatchLayout:
    """batch_size = ranks x micro_batch_size x accumulation.

    partitions: of the data; a place of the batch belongs to its number modulo them.
    """

    batch_size: int
    ranks: int
    micro_batch_size: int
    partitions: int = 1

    @property
    def per_rank(self) -> int:
        return self.batch_size // self.ranks

    @property
    def accumulation(self) -> int:
        return self.per_rank // self.micro_batch_size

    def slots(self, rank: int) -> Sequence[int]:
        """Return a rank's places in the batch: consecutive, or those of its partitions."""
        if self.partitions == 1:
            return range(rank * self.per_rank, (rank + 1) * self.per_rank)
        own = self.partitions_of(rank)
        return [slot for slot in range(self.batch_size) if slot % self.partitions in own]

    def partitions_of(self, rank: int) -> range:
        """Return the partitions that a rank reads."""
        if self.partitions == 1:
            return range(1)
        count = self.partitions // self.ranks
        return range(rank * count, (rank + 1) * count)

    def __str__(self) -> str:
        ranks = count_text(self.ranks, "rank")
        images = count_text(self.micro_batch_size, "image")
        return f"batch {self.batch_size} = {ranks} x {images} x {self.accumulation} accumulation"


def divisors(n: int) -> list[int]:
    """Return the divisors of a number, the largest first."""
    return [d for d in range(n, 0, -1) if n % d == 0]


def split(
    batch_size: int, ranks: int, micro_batch_size: int | None, partitions: int = 1
) -> BatchLayout:
    """Return how a batch is divided over ranks and micro-batches.

    Raises UserError, with values that work, where the numbers don't divide.
    """
    if batch_size % ranks:
        below = batch_size // ranks * ranks
        above = below + ranks
        works = " or ".join(str(b) for b in (below, above) if b)
        raise UserError(
            f"batch_size: found {batch_size}, which {ranks} ranks can't share evenly; "
            f"batch_size={works} works, or {', '.join(map(str, divisors(batch_size)[:4]))} ranks"
        )
    if partitions > 1 and (batch_size % partitions or partitions % ranks):
        allowed = [1, *(d for d in reversed(divisors(batch_size)) if d > 1 and d % ranks == 0)]
        raise UserError(
            f"data.partitions: found {partitions}, which must divide batch_size={batch_size} and "
            f"be a multiple of {ranks} ranks; allowed: {', '.join(map(str, allowed))}"
        )
    per_rank = batch_size // ranks
    micro = per_rank if micro_batch_size is None else micro_batch_size
    if per_rank % micro:
        raise UserError(
            f"micro_batch_size: found {micro}, which does not divide a rank's {per_rank} images"
            f" (batch {batch_size}, ranks: {ranks}); allowed:"
            f" {', '.join(map(str, divisors(per_rank)))}"
        )
    return BatchLayout(batch_size, ranks, micro, partitions)

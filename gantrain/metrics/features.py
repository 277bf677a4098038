"""Features of a set of images, spread over the ranks."""

from functools import cached_property

import torch
import torch.distributed as dist
from torch import Tensor

_ROWS = 4096  # rows in one matrix product


class Features:
    """One tensor a sample. Rank r of w ranks holds those of samples r, r + w, r + 2w, ...

    local: the tensors of this rank, (n, ...), on the CPU. on_every_rank: `local` holds all samples,
    and every rank has the same.
    """

    def __init__(self, local: Tensor, on_every_rank: bool = False) -> None:
        self.local = local
        has_ranks = dist.is_initialized() and dist.get_world_size() > 1
        self.spread = has_ranks and not on_every_rank

    @cached_property
    def rows(self) -> Tensor:
        """All ranks' samples in their order, (N, ...), on every rank."""
        if not self.spread:
            return self.local
        world = dist.get_world_size()
        device = _exchange_device()

        # Collectives need equal shapes, and ranks may hold different numbers of rows.
        counts = [torch.zeros(1, dtype=torch.long, device=device) for _ in range(world)]
        dist.all_gather(counts, torch.tensor([len(self.local)], device=device))
        rows_by_rank = torch.cat(counts)
        longest = int(rows_by_rank.max())
        padded = self.local.new_zeros((longest, *self.local.shape[1:]), device=device)
        padded[: len(self.local)] = self.local
        gathered = [torch.empty_like(padded) for _ in range(world)]
        dist.all_gather(gathered, padded)

        # Row i of rank r is sample i * world + r.
        is_sample = torch.arange(longest, device=device)[:, None] < rows_by_rank
        return torch.stack(gathered, dim=1)[is_sample].cpu()

    @cached_property
    def count(self) -> int:
        count = torch.tensor([len(self.local)])
        return int(_sum_over_ranks(count) if self.spread else count)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return the mean (d) and the covariance (d, d), over n - 1, of all ranks' rows (n, d).

        The sums are in float64, and one reduction adds them over the ranks.
        """
        d = self.local.shape[1]
        sums = torch.zeros(d + 1, d + 1, dtype=torch.float64)
        for block in torch.split(self.local, _ROWS):
            # A column of ones: its products are the sum of the rows, and their number.
            ones = torch.ones(len(block), 1, dtype=torch.float64)
            rows = torch.cat([block.double(), ones], dim=1)
            sums.addmm_(rows.T, rows)
        if self.spread:
            sums = _sum_over_ranks(sums)
        n = sums[d, d]
        mean = sums[d, :d] / n
        covariance = (sums[:d, :d] - n * torch.outer(mean, mean)) / (n - 1)
        return mean, covariance


def _exchange_device() -> torch.device:
    """Return the device on which ranks exchange tensors."""
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")


def _sum_over_ranks(tensor: Tensor) -> Tensor:
    tensor = tensor.to(_exchange_device())
    dist.all_reduce(tensor)
    return tensor.cpu()

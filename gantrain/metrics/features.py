"""Features of a set of images, spread over the ranks."""

from functools import cached_property

import torch
import torch.distributed as dist
from torch import Tensor

_ROWS = 4096  # added up at once


class Features:
    """One tensor a sample: rank r of w ranks holds those of samples r, r + w, r + 2w, ...

    local: this rank's, (n, ...), on the CPU. whole: they are all there are, on every rank.
    """

    def __init__(self, local: Tensor, whole: bool = False) -> None:
        self.local = local
        self.spread = not whole and dist.is_initialized() and dist.get_world_size() > 1

    @cached_property
    def rows(self) -> Tensor:
        """All ranks' samples, in their order, on every rank."""
        if not self.spread:
            return self.local
        world, device = dist.get_world_size(), _exchanged()
        counts = [torch.zeros(1, dtype=torch.long, device=device) for _ in range(world)]
        dist.all_gather(counts, torch.tensor([len(self.local)], device=device))
        sizes = torch.cat(counts)
        padded = self.local.new_zeros((int(sizes.max()), *self.local.shape[1:]), device=device)
        padded[: len(self.local)] = self.local
        parts = [torch.empty_like(padded) for _ in range(world)]
        dist.all_gather(parts, padded)
        there = torch.arange(len(padded), device=device)[:, None] < sizes  # by row and rank
        return torch.stack(parts, dim=1)[there].cpu()

    @cached_property
    def count(self) -> int:
        count = torch.tensor([len(self.local)])
        return int(_summed(count) if self.spread else count)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean (d) and covariance (d, d) over n - 1 of all ranks' rows: float64 sums, one
        reduction.
        """
        d = self.local.shape[1]
        sums = torch.zeros(d + 1, d + 1, dtype=torch.float64)
        for piece in torch.split(self.local, _ROWS):
            # A column of ones: its products are the sum of the rows, and their number.
            rows = torch.cat(
                [piece.double(), torch.ones(len(piece), 1, dtype=torch.float64)], dim=1
            )
            sums.addmm_(rows.T, rows)
        sums = _summed(sums) if self.spread else sums
        n, mean = sums[d, d], sums[d, :d] / sums[d, d]
        return mean, (sums[:d, :d] - n * torch.outer(mean, mean)) / (n - 1)


def _exchanged() -> torch.device:
    """Where a tensor has to be for the ranks to exchange it."""
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")


def _summed(tensor: Tensor) -> Tensor:
    tensor = tensor.to(_exchanged())
    dist.all_reduce(tensor)
    return tensor.cpu()

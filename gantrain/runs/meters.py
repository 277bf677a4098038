"""Means over steps and ranks.

They are added up on the device; a log point takes one reduction and one read by the host.
"""

import torch
import torch.distributed as dist
from torch import Tensor

# By meter: its sum, as the mean over the ranks, and its number of steps.
Sums = dict[str, tuple[float, float]]


class Meters:
    """Sums since the last log point.

    They are kept in float64, so that a resumed run adds up to the same values.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._sums: dict[str, Tensor] = {}
        self._steps: dict[str, float] = {}

    def add(self, values: dict[str, Tensor], weight: float = 1.0) -> None:
        """Add detached scalars on the device; nothing is read.

        weight: the fraction of a step that they describe, so that a mean does not depend on the
        micro-batches.
        """
        for name, value in values.items():
            # A non-finite value is counted apart (its step is undone); it must not hide the rest.
            value = torch.nan_to_num(value.double(), nan=0.0, posinf=0.0, neginf=0.0) * weight
            self._sums[name] = self._sums.get(name, 0) + value
            self._steps[name] = self._steps.get(name, 0) + weight

    def means(self) -> dict[str, float]:
        """Return the means over all ranks since the last call. Every rank calls it."""
        sums = self.sums()
        self._sums = {}
        self._steps = {}
        return {name: total / steps for name, (total, steps) in sums.items()}

    def sums(self) -> Sums:
        """Return the sums since the last log point, without a reset.

        It reads the device. Every rank calls it.
        """
        if not self._sums:
            return {}
        totals = torch.stack([*self._sums.values()])
        if dist.is_initialized():
            dist.all_reduce(totals)
            totals /= dist.get_world_size()
        steps = self._steps.values()
        pairs = zip(totals.tolist(), steps, strict=True)
        return dict(zip(self._sums, pairs, strict=True))

    def restore(self, sums: Sums) -> None:
        """Continue the sums of a saved run, on any number of ranks; rank 0 takes them all."""
        is_main = not dist.is_initialized() or dist.get_rank() == 0
        ranks = dist.get_world_size() if dist.is_initialized() else 1
        for name, (total, steps) in sums.items():
            value = total * ranks if is_main else 0.0
            self._sums[name] = torch.tensor(value, dtype=torch.float64, device=self.device)
            self._steps[name] = steps

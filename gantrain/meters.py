"""Means over steps and ranks, added up on the device: one reduction and one host read a log."""

import torch
from torch import Tensor


class Meters:
    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: dict[str, Tensor]) -> None:
        """Detached scalars on the device; nothing is read."""
        for name, value in values.items():
            # A non-finite value is counted apart (its step is undone); it must not hide the rest.
            value = torch.nan_to_num(value.float(), nan=0.0, posinf=0.0, neginf=0.0)
            self._sums[name] = self._sums.get(name, 0) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """Means over all ranks since the last call. Every rank calls it."""
        if not self._sums:
            return {}
        totals = torch.stack([*self._sums.values()])
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(totals)
            totals /= torch.distributed.get_world_size()
        means = {
            name: total / count for (name, count), total in zip(self._counts.items(), totals.tolist(), strict=True)
        }
        self._sums, self._counts = {}, {}
        return means

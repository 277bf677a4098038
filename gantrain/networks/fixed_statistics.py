"""Batch norm that keeps the statistics of an earlier training."""

from typing import Self

from torch import nn


class FixedStatistics(nn.Module):
    """A module whose batch norms keep their running statistics, in training mode too.

    Images then do not depend on one another. It suits networks of another training, whose
    statistics a run does not change. A constructor ends with `self.train()`.
    """

    def train(self, mode: bool = True) -> Self:
        """Set training mode, in which batch norm still keeps the statistics of its training."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self


def modules_with_fixed_statistics(network: nn.Module) -> set[nn.Module]:
    """Return all modules of a network that lie in a FixedStatistics."""
    fixed: set[nn.Module] = set()
    for module in network.modules():
        if isinstance(module, FixedStatistics):
            fixed.update(module.modules())
    return fixed

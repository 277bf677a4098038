"""Batch normalisation over all ranks, on every device."""

import functools
from collections.abc import Callable
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules._functions import SyncBatchNorm as FusedSyncBatchNorm


class _SumOverRanks(torch.autograd.Function):
    """All-reduce whose gradient is the all-reduce of the gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return _sum_over_ranks(grads[0].contiguous())


def _sum_over_ranks(x: Tensor) -> Tensor:
    return cast(Tensor, _SumOverRanks.apply(x))


class SyncBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation with the statistics of all ranks' samples; (N, C, H, W) to the same.

    While training, all ranks must call it together; in evaluation mode, without a process group
    and on one rank it is ordinary batch normalisation. It is no nn.SyncBatchNorm, because that and
    DDP refuse one on a CPU. With `synced = False` it keeps to its own rank's samples.
    """

    synced = True

    def forward(self, input: Tensor) -> Tensor:  # NCHW
        if not (self.training and self.synced) or _world_size() == 1:
            return super().forward(input)
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        return _outside_graph()(self, input)


def _normalise(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    assert norm.momentum is not None
    if x.is_cuda:
        fused = FusedSyncBatchNorm.apply(
            x,
            norm.weight,
            norm.bias,
            norm.running_mean,
            norm.running_var,
            norm.eps,
            norm.momentum,
            dist.group.WORLD,
            _world_size(),
        )
        return cast(Tensor, fused)

    wide = x if x.dtype == torch.float64 else x.float()
    # Ranks may hold different numbers of samples.
    count = wide.new_tensor([wide.numel() // wide.shape[1]])
    total = _sum_over_ranks(torch.cat([wide.sum((0, 2, 3)), count]))
    count = total[-1].detach()
    mean = total[:-1] / count
    # Centred before squaring: a mean of squares loses digits where the mean is large.
    centred = wide - mean[:, None, None]
    var = _sum_over_ranks(centred.square().sum((0, 2, 3))) / count
    _track(norm.running_mean, mean, norm.momentum)
    _track(norm.running_var, var * count / (count - 1), norm.momentum)
    y = centred * torch.rsqrt(var + norm.eps)[:, None, None]
    y = y * norm.weight[:, None, None] + norm.bias[:, None, None]
    return y.to(x.dtype)


@functools.cache
def _outside_graph() -> Callable[[nn.BatchNorm2d, Tensor], Tensor]:
    """`_normalise` left out of compiled graphs, which its collectives would break in any case.

    Made on first use: it imports the compiler, which takes a second.
    """
    function: Callable[[nn.BatchNorm2d, Tensor], Tensor]
    function = torch.compiler.disable(_normalise)  # type: ignore[no-untyped-call]
    return function


@torch.no_grad()
def _track(running: Tensor | None, value: Tensor, momentum: float) -> None:
    assert running is not None
    running.lerp_(value.to(running.dtype), momentum)


def _world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1

"""Batch normalisation over all ranks, on every device."""

import torch
import torch.distributed as dist
from torch import Tensor, nn

# The same as torch.compiler.disable, which takes a second to import.
from torch._compile import _disable_dynamo

# Differentiable, unlike torch.distributed's own.
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules._functions import SyncBatchNorm as FusedSyncBatchNorm


class SyncBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation with the statistics of all ranks' samples, (N, C, H, W) to the same.

    In training mode all ranks must call it together. In evaluation mode, without a process group,
    and on one rank it is ordinary batch normalisation. It is no nn.SyncBatchNorm, because that
    module and DDP refuse one on a CPU. With `synced = False` it uses its own rank's samples only.
    """

    synced = True

    def forward(self, input: Tensor) -> Tensor:  # NCHW
        if not (self.training and self.synced) or _world_size() == 1:
            return super().forward(input)
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        return _normalise(self, input)


@_disable_dynamo  # Its collectives would break a compiled graph in any case.
def _normalise(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Normalise x (N, C, H, W) over all ranks, and update the running statistics."""
    assert norm.momentum is not None
    if x.is_cuda:
        fused: Tensor = FusedSyncBatchNorm.apply(
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
        return fused
    wide = x if x.dtype == torch.float64 else x.float()
    # Ranks may hold different numbers of samples.
    count = wide.new_tensor([wide.numel() // wide.shape[1]])
    total = _sum_over_ranks(torch.cat([wide.sum((0, 2, 3)), count]))
    count = total[-1].detach()
    mean = total[:-1] / count
    # Centred before squaring: a mean of squares loses digits where the mean is large.
    centred = wide - mean[:, None, None]
    var = _sum_over_ranks(centred.square().sum((0, 2, 3))) / count
    with torch.no_grad():
        assert norm.running_mean is not None
        assert norm.running_var is not None
        unbiased_var = var * count / (count - 1)
        norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), norm.momentum)
        norm.running_var.lerp_(unbiased_var.to(norm.running_var.dtype), norm.momentum)
    y: Tensor = centred * torch.rsqrt(var + norm.eps)[:, None, None]
    if norm.affine:
        y = y * norm.weight[:, None, None] + norm.bias[:, None, None]
    return y.to(x.dtype)


def _sum_over_ranks(x: Tensor) -> Tensor:
    total: Tensor = all_reduce(x.contiguous())  # type: ignore[no-untyped-call]
    return total


def _world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1

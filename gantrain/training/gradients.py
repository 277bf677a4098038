"""The gradients of one optimiser: their norm, the mask of an update that is not finite, clipping.

None of these functions reads the device from the host.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

_PIECE = 2**16  # elements whose squares are added up at once


@torch.no_grad()
def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Return the norm of all gradients, a scalar on the device.

    The function splits large gradients into pieces, because a CPU's float32 sum over millions of
    elements keeps only about four digits.
    """
    pieces: list[Tensor] = []
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is None:
            continue
        if gradient.ndim == 0:
            gradient = gradient[None]
        rows = max(1, _PIECE * len(gradient) // gradient.numel())
        pieces += torch.split(gradient, rows)
    return get_total_norm(pieces)


def skip_if_nonfinite(optimizer: torch.optim.Optimizer, norm: Tensor) -> Tensor:
    """Make a fused optimiser skip its next update where the norm is not finite.

    Returns a scalar on the device: 1 where the update is skipped, else 0. The fused kernels of
    Adam and AdamW read the mask from the attributes that torch's GradScaler sets.
    """
    is_nonfinite = (~norm.isfinite()).float()
    fused: Any = optimizer
    fused.grad_scale = None
    fused.found_inf = is_nonfinite
    return is_nonfinite


@torch.no_grad()
def clip_gradients(
    parameters: Iterable[nn.Parameter], norm: Tensor, largest_norm: float | None
) -> None:
    """Scale the gradients down to the largest norm; None leaves them as they are."""
    if largest_norm is not None:
        clip_grads_with_norm_(parameters, largest_norm, norm)

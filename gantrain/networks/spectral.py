"""Convolutions whose weight is divided by its largest singular value (Miyato et al., 2018).

PyTorch's own module iterates in every forward. Its weights would therefore depend on how often a
step calls the network: on micro-batches, penalties and recomputation. Here a forward only reads `u`
and `v`, and `advance()` changes them, once per optimiser step.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Spectral(nn.Module):
    """The common part of the convolutions below. `rows` is the weight's axis of output channels."""

    rows = 0
    weight: Tensor
    u: Tensor
    v: Tensor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rows = self.weight.shape[self.rows]
        columns = self.weight.numel() // rows
        self.register_buffer("u", self._random_direction(rows))
        self.register_buffer("v", self._random_direction(columns))

    def _random_direction(self, size: int) -> Tensor:
        direction = self.weight.detach().new_empty(size)
        if direction.is_meta:  # nothing to draw
            return direction
        return F.normalize(direction.normal_(), dim=0)

    def _matrix(self) -> Tensor:
        """Return the weight as a matrix, (rows, columns), in float32 or better."""
        matrix = self.weight.transpose(0, self.rows).flatten(1)
        return matrix if matrix.dtype == torch.float64 else matrix.float()

    @torch.no_grad()
    def advance(self, iterations: int = 1) -> None:
        """Move `u` and `v` towards the leading singular vectors, after an update of the weight."""
        if self.weight.is_meta:
            return
        with torch.autocast(self.weight.device.type, enabled=False):
            matrix = self._matrix()
            u = self.u.to(matrix.dtype)
            for _ in range(iterations):
                v = F.normalize(matrix.T @ u, dim=0)
                u = F.normalize(matrix @ v, dim=0)
            self.u.copy_(u)
            self.v.copy_(v)

    def normalised(self) -> Tensor:
        """Return the weight divided by the estimate of its largest singular value."""
        matrix = self._matrix()
        # Products and a sum: autocast leaves these in full precision, unlike matmuls.
        outer = self.u.to(matrix.dtype)[:, None] * self.v.to(matrix.dtype)
        sigma = (matrix * outer).sum()
        return self.weight / sigma.to(self.weight.dtype)


class SpectralConv2d(Spectral, nn.Conv2d):
    """nn.Conv2d with a spectrally normalised weight."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self._conv_forward(x, self.normalised(), self.bias)
        return y


class SpectralConvTranspose2d(Spectral, nn.ConvTranspose2d):
    """nn.ConvTranspose2d with a spectrally normalised weight, for the default output size."""

    rows = 1

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        assert output_size is None
        assert not isinstance(self.padding, str)
        return F.conv_transpose2d(
            x,
            self.normalised(),
            self.bias,
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
        )

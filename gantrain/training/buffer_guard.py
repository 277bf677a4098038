"""Undoes what a step that is not finite has done to buffers, such as running means."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


class BufferGuard:
    """Keeps the values of buffers, and gives them back where a step has to be undone.

    The values of all buffers of one type lie one after another in a flat tensor. One kernel on
    lists of tensors then copies all of them, and the number of kernels does not grow with that of
    the buffers: three copies and one choice.
    """

    def __init__(self, buffers: Sequence[Tensor]) -> None:
        by_type: dict[torch.dtype, list[Tensor]] = {}
        for buffer in buffers:
            by_type.setdefault(buffer.dtype, []).append(buffer)
        self._groups = [_Group(group) for group in by_type.values()]

    @torch.no_grad()
    def keep(self) -> None:
        """Keep the present values."""
        for group in self._groups:
            torch._foreach_copy_(group.kept_parts, group.buffers)

    @torch.no_grad()
    def undo_where(self, is_undone: Tensor) -> None:
        """Give the buffers their kept values, without a read of the device.

        is_undone: a scalar on the device, 1 where the step has to be undone, else 0.
        """
        for group in self._groups:
            torch._foreach_copy_(group.new_parts, group.buffers)
            # A choice, and no arithmetic: the new values may be NaN.
            torch.where(is_undone > 0, group.kept, group.new, out=group.kept)
            torch._foreach_copy_(group.buffers, group.kept_parts)


class _Group:
    """Buffers of one type, and two flat tensors with a part for each of them."""

    def __init__(self, buffers: list[Tensor]) -> None:
        self.buffers = buffers
        elements = sum(buffer.numel() for buffer in buffers)
        self.kept = buffers[0].new_empty(elements)
        self.new = buffers[0].new_empty(elements)
        self.kept_parts = _parts(self.kept, buffers)
        self.new_parts = _parts(self.new, buffers)


def _parts(flat: Tensor, buffers: Sequence[Tensor]) -> list[Tensor]:
    """Return the parts of a flat tensor, each with the shape and the strides of its buffer.

    With other strides, each buffer would have a kernel of its own.
    """
    parts: list[Tensor] = []
    offset = 0
    for buffer in buffers:
        elements = math.prod(buffer.shape)
        strides = torch.empty_like(buffer).stride()
        parts.append(flat.as_strided(buffer.shape, strides, offset))
        offset += elements
    return parts

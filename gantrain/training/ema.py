"""An exponential moving average of the weights that inference uses."""

import copy

import torch
from torch import Tensor

from gantrain.methods.base import Method

_RAMP_UP = 0.05  # the half-life never exceeds this share of the images seen (Karras et al. 2024)


class EMA:
    """A copy of the method whose inference networks are averaged; previews and metrics use it.

    Without a half-life the copy just follows the live weights when `refresh` is called.
    """

    def __init__(self, method: Method, half_life: int | None) -> None:
        self.half_life = half_life
        self.live = method
        self.method = copy.deepcopy(method).requires_grad_(False).eval()
        names = method.inference
        self._averaged: list[Tensor] = [
            p for n in names for p in self.method.networks[n].parameters()
        ]
        self._sources: list[Tensor] = [p for n in names for p in method.networks[n].parameters()]

    @torch.no_grad()
    def update(self, images_seen: int, batch_size: int, valid: Tensor) -> None:
        """After a step; `valid` is a scalar on the device, 0 where the step was undone."""
        if self.half_life is None:
            return
        half_life = min(self.half_life, max(images_seen * _RAMP_UP, 1e-8))
        weight = (1 - 0.5 ** (batch_size / half_life)) * valid
        weights = [weight.to(self._averaged[0].dtype)] * len(self._averaged)
        torch._foreach_lerp_(self._averaged, self._sources, weights)

    @torch.no_grad()
    def refresh(self) -> Method:
        """The copy, with all that is not averaged (buffers, other networks) as it is live."""
        averaged = {id(p) for p in self._averaged} if self.half_life is not None else set()
        copies = [*self.method.parameters(), *self.method.buffers()]
        lives = [*self.live.parameters(), *self.live.buffers()]
        for ours, live in zip(copies, lives, strict=True):
            if id(ours) not in averaged:
                ours.copy_(live)
        return self.method

"""An exponential moving average of the weights that inference uses."""

import copy

import torch
from torch import Tensor
from torch.optim.sgd import sgd

from gantrain.methods.base import Method

_RAMP_UP = 0.05  # the half-life never exceeds this fraction of the images seen (Karras et al. 2024)


class EMA:
    """A copy of the method whose inference networks are averaged; previews and metrics use it.

    Without a half-life the copy just follows the live weights when `refresh` is called.
    """

    def __init__(self, method: Method, half_life: int | None) -> None:
        self.half_life = half_life
        self.live = method
        self.method = copy.deepcopy(method).requires_grad_(False).eval()
        self._averaged: list[Tensor] = []
        self._sources: list[Tensor] = []
        for name in method.inference:
            self._averaged += self.method.networks[name].parameters()
            self._sources += method.networks[name].parameters()

    def match_layout(self) -> None:
        """Give the averaged weights the strides of the live ones, which a wrapper may have changed.

        `update` pairs their elements by their place in memory. Call it after the phases are
        wrapped.
        """
        for average, source in zip(self._averaged, self._sources, strict=True):
            if average.stride() != source.stride():
                average.data = torch.empty_like(source.data).copy_(average)

    @torch.no_grad()
    def update(self, images_seen: int, batch_size: int, is_undone: Tensor) -> None:
        """Update the average after a step: average += weight * (live - average).

        One fused kernel does it without a read of the device: that of SGD with the gradient
        `live`, a weight decay of -1 and a learning rate of -weight. It changes nothing where the
        step was undone.

        is_undone: a float32 scalar on the device, 1 where the step was undone, else 0.
        """
        if self.half_life is None:
            return
        half_life = min(self.half_life, max(images_seen * _RAMP_UP, 1e-8))
        weight = 1 - 0.5 ** (batch_size / half_life)
        sgd(
            self._averaged,
            self._sources,
            [None] * len(self._averaged),
            fused=True,
            found_inf=is_undone,
            weight_decay=-1.0,
            lr=-weight,
            momentum=0.0,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )

    @torch.no_grad()
    def refresh(self) -> Method:
        """Return the copy, with live values of all that is not averaged, such as buffers."""
        averaged = {id(p) for p in self._averaged} if self.half_life is not None else set()
        copies = [*self.method.parameters(), *self.method.buffers()]
        lives = [*self.live.parameters(), *self.live.buffers()]
        for ours, live in zip(copies, lives, strict=True):
            if id(ours) not in averaged:
                ours.copy_(live)
        return self.method

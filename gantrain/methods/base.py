"""The contract between the trainer and the methods: Method, Phase, Terms, Context."""

import abc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from gantrain.core.rng import Purpose, random_numbers

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Context:
    """Where a micro-batch stands in the run: everything that a random choice may depend on.

    seed: the run's. images_seen: at the start of the step, over all ranks. batch_size: global.
    positions: of this micro-batch's samples in the stream. stage_start: images seen when this stage
    of the run began. interval_steps: the phase runs in every n-th step.
    """

    seed: int
    images_seen: int
    batch_size: int
    positions: tuple[int, ...]
    stage_start: int = 0
    interval_steps: int = 1

    @property
    def step(self) -> int:
        """The number of steps of this stage before this one."""
        return (self.images_seen - self.stage_start) // self.batch_size

    @property
    def turn(self) -> int:
        """The number of times that the phase ran in this stage before."""
        return self.step // self.interval_steps

    def is_due(self, interval_turns: int) -> bool:
        """Return whether something that happens in every n-th turn happens in this one."""
        return self.turn % interval_turns == 0

    def random(self, position: int, purpose: Purpose) -> np.random.Generator:
        """The random numbers of one sample and purpose."""
        return random_numbers(self.seed, position, purpose)


@dataclass
class Terms:
    """What one phase computes from a micro-batch.

    losses: weighted terms by name; their sum is minimised.
    carried: detached tensors handed on to the next phase of this step.
    stats: detached scalars for the meters.
    """

    losses: dict[str, Tensor]
    carried: Batch = field(default_factory=dict)
    stats: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Phase:
    """One optimiser's turn: all micro-batches' terms, then one update of `networks`.

    `carried` is what the step's earlier phases handed on for this micro-batch, or None.
    """

    name: str
    networks: tuple[str, ...]
    terms: Callable[[Batch, Batch | None, Context], Terms]


class Method(abc.ABC, nn.Module):
    """Networks and losses of one paper.

    A constructor calls `super().__init__()`, fills `networks` and sets `phases`; all else may be
    left out.

    networks: trained, by their names in checkpoints. auxiliary: frozen helpers, which `load()`
    their weights before training; inference has none. phases: in the order of the update; their
    networks are disjoint. pools: gantrain.methods.image_pool's histories of images, saved with the
    run. inference: the networks that `translate` needs (the ones averaged by EMA). paired: it
    learns from pairs only; data without any are refused. loss_weights: the factor of each loss that
    its terms contain, by the loss's name; the console prints them. has_back: `translate_back`
    translates targets to sources, for `translate --back`. has_style: `style` makes what `translate`
    takes as the batch's `style`, for `translate --style`."""

    networks: nn.ModuleDict
    auxiliary: nn.ModuleDict
    phases: Sequence[Phase]
    pools: dict[str, Any]
    inference: Sequence[str] = ("generator",)
    paired: bool = False
    loss_weights: Mapping[str, float] = MappingProxyType({})
    has_back: bool = False
    has_style: bool = False

    def __init__(self) -> None:
        super().__init__()
        self.networks = nn.ModuleDict()
        self.auxiliary = nn.ModuleDict()
        self.phases = ()
        self.pools = {}

    @abc.abstractmethod
    def translate(self, batch: Batch) -> Tensor:
        """Images in [-1, 1], (N, C, H, W), from a batch's source."""

    def translate_back(self, batch: Batch) -> Tensor:
        """Images of the sources' kind in [-1, 1], (N, C, H, W), from a batch whose `source` is a
        target.
        """
        raise NotImplementedError

    def style(self, given: int | Tensor) -> Tensor:
        """The style, (1, channels), drawn with a seed, or of an image (1, C, H, W) in [-1, 1]."""
        raise NotImplementedError

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        """Scalars worth watching on held-out samples while training, such as the discriminator's
        accuracy.
        """
        return {}

    def measure(self, batch: Batch) -> dict[str, Tensor]:
        """Scalars of held-out samples by the networks of `inference` alone.

        The batch also has `fake`, its translation as a file would hold it.
        """
        return {}


def is_random_at_test(dropout: bool, batch_statistics: bool) -> bool:
    """Whether an output depends on more than its own input."""
    return dropout or batch_statistics


def set_inference(method: nn.Module, *, dropout: bool, batch_statistics: bool) -> None:
    """Evaluation mode, but for what pix2pix keeps on at test time."""
    method.eval()
    for module in method.modules():
        if dropout and isinstance(module, nn.modules.dropout._DropoutNd):
            module.train()
        still = getattr(module, "keeps_statistics", False)  # a Backbone's
        if batch_statistics and isinstance(module, nn.modules.batchnorm._BatchNorm) and not still:
            module.train()
            if hasattr(module, "synced"):
                module.synced = cast(
                    Any, False
                )  # an image's own statistics, not those of all ranks' images


@contextmanager
def frozen(modules: Iterable[nn.Module]) -> Iterator[None]:
    """No gradients for the modules' parameters inside the block; restores each parameter's flag."""
    flags = [(p, p.requires_grad) for m in modules for p in m.parameters()]
    for p, _ in flags:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p, flag in flags:
            p.requires_grad_(flag)


@contextmanager
def unchanged(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Restores the modules' buffers after the block, such as the running statistics of batch
    norm.
    """
    buffers = [buffer for module in modules for buffer in module.buffers()]
    before = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)


def starts_with(name: str, prefix: str) -> bool:
    """Whether a parameter of that name is one of `generator` or `generator.downs`."""
    return f"{name}.".startswith(f"{prefix}.")


def float_buffers(module: nn.Module) -> list[Tensor]:
    return [b for b in module.buffers() if torch.is_floating_point(b)]

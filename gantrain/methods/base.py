"""The contract between the trainer and the methods: Method, Phase, Terms, Context.

A method states what is trained and which losses are minimised. The trainer runs the phases of the
method in their order. For each phase it calls `terms` on every micro-batch, adds up the gradients
of the losses, and updates the phase's networks once.
"""

import abc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gantrain.core.rng import Purpose, random_numbers
from gantrain.core.weighted import TermWeight
from gantrain.methods.network_roles import NetworkRole
from gantrain.networks.fixed_statistics import modules_with_fixed_statistics
from gantrain.networks.sync_batch import SyncBatchNorm2d

# Tensors by their role: `source` and `target` (N, C, H, W), images in [-1, 1] or one-hot labels.
Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Context:
    """The place of a micro-batch in the run. Every random choice of a method derives from it.

    Attributes:
        seed: The seed of the run.
        images_seen: The images of all ranks that the run had seen when the step began.
        batch_size: The number of images of one step over all ranks.
        positions: The positions of this micro-batch's samples in the stream of training data.
        stage_start: The images that the run had seen when its present stage began.
        interval_steps: The phase runs in every n-th step of the stage.
    """

    seed: int
    images_seen: int
    batch_size: int
    positions: tuple[int, ...]
    stage_start: int = 0
    interval_steps: int = 1

    @property
    def step(self) -> int:
        """The number of earlier steps in this stage."""
        return (self.images_seen - self.stage_start) // self.batch_size

    @property
    def turn(self) -> int:
        """The number of earlier turns of the phase in this stage."""
        return self.step // self.interval_steps

    def is_due(self, interval_turns: int) -> bool:
        """Return whether an action with this interval, in turns, is due in this turn."""
        return self.turn % interval_turns == 0

    def random(self, position: int, purpose: Purpose | str) -> np.random.Generator:
        """Return the generator of random numbers for one sample and one purpose.

        The numbers do not depend on ranks, workers and micro-batches. purpose: one of gantrain's
        own, or a text such as `mine.patches`, which names a stream of its own.
        """
        return random_numbers(self.seed, position, purpose)


@dataclass
class Terms:
    """The result of a phase for one micro-batch.

    Attributes:
        losses: The weighted losses by name, floats without dimensions. The trainer minimises their
            sum.
        carried: Detached tensors that the later phases of this step receive.
        stats: Detached scalars for the log, by name.
    """

    losses: dict[str, Tensor]
    carried: Batch = field(default_factory=dict)
    stats: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Phase:
    """The turn of one optimiser: the terms of all micro-batches, then one update of the networks.

    Attributes:
        name: The name of the phase in recipes and logs, such as `generator`.
        networks: The names of the networks that the phase trains. All others are frozen meanwhile.
        terms: A function of (batch, carried, context). `carried` holds what the earlier phases of
            this step carry on for this micro-batch. It is None where no earlier phase ran.
        forward: A function of (batch, context) that returns what `terms` begins with, such as the
            generator's images, with gradient. The trainer may call `forward` before an earlier
            phase of the step. Earlier phases get the result detached, in `carried`. `terms` gets it
            with its graph (see `find_kept_forward`). Where the trainer does not call it, `terms`
            computes the same itself: with several micro-batches, with spectral norm, or as the
            first phase of the step.
    """

    name: str
    networks: tuple[str, ...]
    terms: Callable[[Batch, Batch | None, Context], Terms]
    forward: Callable[[Batch, Context], Batch] | None = None


@dataclass(frozen=True)
class Input:
    """A field that a method takes beside the source and the target.

    Attributes:
        kind: The kind of the field, a name of the table gantrain.data.kinds.table.KINDS.
        required: Whether the method cannot train without it.
    """

    kind: str
    required: bool = False


class Method(abc.ABC, nn.Module):
    """The networks, the losses and the phases of one paper.

    A constructor calls `super().__init__()`, fills `networks` and sets `phases`. A subclass has to
    define `translate`. Everything else has a default.

    Attributes:
        networks: The trained networks, by their names in checkpoints.
        auxiliary: Frozen helpers such as VGG-19. The trainer calls their `load()` before training.
            Inference has none of them.
        phases: The phases in the order of the update. No network is in two of them.
        pools: Histories of images (gantrain.methods.image_pool) by name. The run saves them.
        inference: The names of the networks that `translate` needs. EMA averages these.
        roles: What each network does, by its name. A network that is not named here has its own
            name as its kind, and belongs to the forward direction. Errors, `gantrain import` and
            `init_from` find networks by their roles.
        paired: Whether the method learns from pairs only. Data without pairs are then refused.
        loss_weights: The weight of each loss in the terms, by the loss's name: a number, or a
            schedule over the images of the stage. The console prints the weights.
        inputs: What the class takes beside the source and the target, by role. A recipe names the
            fields in `data.inputs`. The batch has each of them under its role, and the channels of
            all of them, in this order, follow those of the source in the batch's `source`.
        has_back: Whether `translate_back` translates targets to sources (`translate --back`).
        has_style: Whether `style` makes the batch's `style` for `translate` (`translate --style`).
        style_keys: What a recipe sets so that the class learns styles, for messages. It is empty
            where the class always learns them.
    """

    networks: nn.ModuleDict
    auxiliary: nn.ModuleDict
    phases: Sequence[Phase]
    pools: dict[str, Any]
    inference: Sequence[str] = ("generator",)
    roles: Mapping[str, NetworkRole] = MappingProxyType({})
    paired: bool = False
    loss_weights: Mapping[str, TermWeight] = MappingProxyType({})
    inputs: Mapping[str, Input] = MappingProxyType({"instances": Input("instances")})
    has_back: bool = False
    has_style: bool = False
    style_keys: str = ""

    def __init__(self) -> None:
        super().__init__()
        self.networks = nn.ModuleDict()
        self.auxiliary = nn.ModuleDict()
        self.phases = ()
        self.pools = {}

    def role_of(self, name: str) -> NetworkRole:
        """Return what the network of that name does."""
        return self.roles.get(name, NetworkRole(name))

    def network_in_role(self, role: NetworkRole) -> str | None:
        """Return the name of the network that has this role, or None where none has it."""
        for name in self.networks:
            if self.role_of(name) == role:
                return name
        return None

    @abc.abstractmethod
    def translate(self, batch: Batch) -> Tensor:
        """Return the translations of the batch's `source`, (N, C, H, W) in [-1, 1]."""

    def translate_back(self, batch: Batch) -> Tensor:
        """Return translations in the reverse direction, (N, C, H, W) in [-1, 1].

        The batch's `source` then holds images of the target domain, and the result holds images of
        the source domain. Raises NotImplementedError where the method has no reverse direction.
        """
        raise NotImplementedError

    def style(self, given: int | Tensor) -> Tensor:
        """Return a style, (1, channels).

        given: a seed to draw the style with, or an image (1, C, H, W) in [-1, 1] to take it from.
        Raises NotImplementedError where the method has no styles.
        """
        raise NotImplementedError

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        """Return scalars of held-out samples to log while training.

        An example is the discriminator's accuracy. All networks are available.
        """
        return {}

    def measure(self, batch: Batch) -> dict[str, Tensor]:
        """Return scalars of held-out samples, for which the networks of `inference` are enough.

        The batch also has `fake`: its translation, rounded as a file stores it.
        """
        return {}


def is_random_at_test(dropout: bool, batch_statistics: bool) -> bool:
    """Return whether an output depends on more than its own input in this mode of inference."""
    return dropout or batch_statistics


def set_inference(method: nn.Module, *, dropout: bool, batch_statistics: bool) -> None:
    """Set evaluation mode, except for what pix2pix keeps on at test time.

    dropout: drop units as in training. batch_statistics: batch norm uses the statistics of its
    input, except where a pretrained network keeps those of its own training.
    """
    method.eval()
    fixed = modules_with_fixed_statistics(method)
    for module in method.modules():
        if dropout and isinstance(module, nn.modules.dropout._DropoutNd):
            module.train()
        is_batch_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
        if batch_statistics and is_batch_norm and module not in fixed:
            module.train()
            if isinstance(module, SyncBatchNorm2d):
                # Each rank translates images of its own, so their statistics are not shared.
                module.synced = False


@contextmanager
def frozen(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Give the modules' parameters no gradients inside the block, then restore each one's flag."""
    parameters = [parameter for module in modules for parameter in module.parameters()]
    flags = [parameter.requires_grad for parameter in parameters]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, flag in zip(parameters, flags, strict=True):
            parameter.requires_grad_(flag)


@contextmanager
def unchanged(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Restore the modules' buffers, such as batch norm's running statistics, after the block."""
    buffers = [buffer for module in modules for buffer in module.buffers()]
    values = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        for buffer, value in zip(buffers, values, strict=True):
            # Through `data`, because a forward from before the block may have saved the buffer for
            # its backward, which refuses a changed one. The values are those that it saw.
            buffer.data.copy_(value)


def find_kept_forward(carried: Batch | None, name: str) -> Batch | None:
    """Return the result of a phase's `forward` where the trainer has run it before, else None.

    name: of a tensor in the result. That tensor has a graph. Tensors that earlier phases carry have
    none.
    """
    if carried and name in carried and carried[name].requires_grad:
        return carried
    return None


def starts_with(name: str, prefix: str) -> bool:
    """Return whether the dotted name of a parameter begins with the parts of `prefix`.

    `generator.downs.0.weight` starts with `generator.downs`, and not with `generator.down`.
    """
    return f"{name}.".startswith(f"{prefix}.")


def float_buffers(module: nn.Module) -> list[Tensor]:
    """Return the module's buffers of floats, such as running means and spectral vectors."""
    return [buffer for buffer in module.buffers() if torch.is_floating_point(buffer)]

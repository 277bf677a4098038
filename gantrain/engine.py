"""One step of training: the phases' turns on one micro-batched batch, on any number of ranks."""

import contextlib
import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor, nn

from gantrain.ema import EMA
from gantrain.meters import Meters
from gantrain.method import Batch, Context, Method, Phase, float_buffers, frozen
from gantrain.recipe import Optimizer

# find_unused_parameters keeps the buckets as they were built. Otherwise DDP rebuilds them after
# the first backward, which changes the order of its sums: a resumed run would differ in the last
# bits. Buffers are rank 0's at evaluation, so broadcasting them each step is waste.
DDP = DistributedDataParallelKwargs(
    broadcast_buffers=False, find_unused_parameters=True, gradient_as_bucket_view=True
)


class PhaseModule(nn.Module):
    """A phase as one module that owns just the networks it trains: one forward, one backward."""

    def __init__(self, method: Method, phase: Phase, bf16: bool, device: torch.device) -> None:
        super().__init__()
        self.trained = nn.ModuleDict({n: method.networks[n] for n in phase.networks})
        self.terms, self.bf16, self.device = phase.terms, bf16, device

    def forward(
        self, batch: Batch, carried: Batch | None, context: Context
    ) -> tuple[Tensor, Batch, dict[str, Tensor]]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            terms = self.terms(batch, carried, context)
        total = torch.stack([loss.float() if self.bf16 else loss for loss in terms.losses.values()])
        stats = {name: loss.detach() for name, loss in terms.losses.items()}
        return total.sum(), terms.carried, {**stats, **terms.stats}


@dataclass
class Turn:
    """A phase with what it takes to carry it out."""

    phase: Phase
    module: nn.Module  # PhaseModule, wrapped for the ranks
    others: list[nn.Module]
    parameters: list[nn.Parameter]
    advancing: list[Any]  # modules with state of their own for each step (spectral norm)
    optimizer: torch.optim.Optimizer
    settings: Optimizer


def seed_all(*key: int) -> None:
    """Seed dropout and noise, on every device, from what identifies a micro-batch."""
    torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]) >> 1)


def make_optimizer(settings: Optimizer, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    kind: Any = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.name]
    optimizer: torch.optim.Optimizer = kind(
        parameters,
        lr=settings.lr,
        betas=settings.betas,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    return optimizer


class Engine:
    """Owns the wrapped phases and optimisers of a method; knows nothing about GANs.

    Raises ValueError where phases share a network.
    """

    def __init__(
        self,
        method: Method,
        accelerator: Accelerator,
        settings: dict[str, Optimizer],
        *,
        seed: int,
        bf16: bool = False,
        ema_half_life: int | None = None,
        compile: bool = False,
        distributed: bool = True,
    ) -> None:
        names = [n for phase in method.phases for n in phase.networks]
        if len(set(names)) < len(names):
            raise ValueError(f"phases share a network, found {names}; each network has one phase")
        self.method, self.accelerator, self.seed = method, accelerator, seed
        self.ema = EMA(method, ema_half_life)
        self.meters = Meters(accelerator.device)
        if compile:
            for network in itertools.chain(method.networks.values(), method.auxiliary.values()):
                network.compile(dynamic=False)
        accelerator.ddp_handler = DDP
        self.distributed = distributed
        self.turns = [self._turn(phase, settings[phase.name], bf16) for phase in method.phases]
        self.buffers = float_buffers(method.networks)
        zero = torch.zeros((), device=accelerator.device)
        self.nonfinite, self.in_a_row, self.worst = zero.clone(), zero.clone(), zero.clone()

    def _turn(self, phase: Phase, settings: Optimizer, bf16: bool) -> Turn:
        trained = [self.method.networks[n] for n in phase.networks]
        module = PhaseModule(self.method, phase, bf16, self.accelerator.device)
        parameters = [p for network in trained for p in network.parameters()]
        others = [n for name, n in self.method.networks.items() if name not in phase.networks]
        return Turn(
            phase,
            self._wrap(module) if self.distributed else module,
            [*others, *self.method.auxiliary.values()],
            parameters,
            [m for network in trained for m in network.modules() if hasattr(m, "advance")],
            make_optimizer(settings, parameters),
            settings,
        )

    def _wrap(self, module: nn.Module) -> nn.Module:
        with warnings.catch_warnings():
            # Newer torch has another name for broadcast_buffers, which older torch doesn't know.
            warnings.filterwarnings("ignore", message=".*broadcast_buffers", category=FutureWarning)
            wrapped: nn.Module = self.accelerator.prepare_model(module)
        return wrapped

    def step(
        self, batches: Sequence[Batch], contexts: Sequence[Context], rates: dict[str, float]
    ) -> None:
        """One turn of each phase that is due; the batch comes as micro-batches.

        rates: learning rate by phase. A turn whose gradients are not finite is undone, on all
        ranks alike and without asking the device.
        """
        context = contexts[0]
        buffers = [b.clone() for b in self.buffers]
        carried: list[Batch | None] = [None] * len(batches)
        bad = torch.zeros_like(self.nonfinite)
        for turn in self.turns:
            if not context.due(turn.settings.every):  # counts steps: here `every` is still 1
                continue
            with frozen(turn.others):
                for module in turn.advancing:
                    module.advance()
                self.accumulate(turn, batches, contexts, carried)
                bad = torch.maximum(bad, self.update(turn, rates[turn.phase.name]))
        for buffer, before in zip(self.buffers, buffers, strict=True):
            buffer.copy_(torch.where(bad > 0, before, buffer))
        self.ema.update(context.images_seen + context.batch_size, context.batch_size, 1 - bad)
        self.nonfinite += bad
        self.in_a_row = (self.in_a_row + bad) * bad
        self.worst = torch.maximum(self.worst, self.in_a_row)

    def read_nonfinite(self) -> tuple[int, int]:
        """Steps undone so far, and the most in a row since the last call. Reads the device."""
        counts = int(self.nonfinite), int(self.worst)
        self.worst.zero_()
        return counts

    def accumulate(
        self,
        turn: Turn,
        batches: Sequence[Batch],
        contexts: Sequence[Context],
        carried: list[Batch | None],
    ) -> None:
        """The mean gradient over micro-batches and ranks; fills `carried`."""
        turn.optimizer.zero_grad()
        for i, (batch, context) in enumerate(zip(batches, contexts, strict=True)):
            last = i == len(batches) - 1
            context = replace(context, every=turn.settings.every)
            # The phase is not in the key: a fake made again by a later phase is the same fake.
            seed_all(self.seed, context.images_seen, self.accelerator.process_index, i)
            waiting = contextlib.nullcontext() if last else self.accelerator.no_sync(turn.module)
            with waiting:
                loss, handed_on, stats = turn.module(batch, carried[i], context)
                (loss / len(batches)).backward()
            carried[i] = {**(carried[i] or {}), **handed_on}
            self.meters.add(stats)

    def update(self, turn: Turn, rate: float) -> Tensor:
        """The optimiser's step; returns 1.0 on the device where it was left out, else 0.0."""
        gradients = [p.grad for p in turn.parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        bad = (~norm.isfinite()).float()
        if turn.settings.clip is not None:
            torch.nn.utils.clip_grads_with_norm_(turn.parameters, turn.settings.clip, norm)
        optimizer = cast(Any, turn.optimizer)
        optimizer.grad_scale, optimizer.found_inf = None, bad  # the fused kernel skips by itself
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        self.meters.add({f"{turn.phase.name}_gradient": norm.detach()})
        return bad

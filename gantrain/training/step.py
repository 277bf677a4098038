"""One step of training: the phases' turns on one micro-batched batch, on any number of ranks."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from gantrain.core.rng import seed_all
from gantrain.methods.base import (
    Batch,
    Context,
    Method,
    Phase,
    float_buffers,
    frozen,
    starts_with,
    unchanged,
)
from gantrain.methods.terms_check import check_terms
from gantrain.recipe.optimizer import Optimizer
from gantrain.runs.meters import Meters
from gantrain.training.ddp import DDPPhase
from gantrain.training.ema import EMA
from gantrain.training.zero import ZeROPhase

_PIECE = 2**16  # gradients whose squares are added up at once


class PhaseModule(nn.Module):
    """A phase as one module that owns just the networks it trains: one forward, one backward."""

    def __init__(self, method: Method, phase: Phase, bf16: bool, device: torch.device) -> None:
        super().__init__()
        self.trained = nn.ModuleDict({n: method.networks[n] for n in phase.networks})
        self.terms, self.bf16, self.device = phase.terms, bf16, device
        self.names = (phase.name, type(method).__name__)  # for errors

    def forward(
        self, batch: Batch, carried: Batch | None, context: Context
    ) -> tuple[Tensor, Batch, dict[str, Tensor]]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            terms = self.terms(batch, carried, context)
        check_terms(terms, *self.names)
        total = torch.stack([loss.float() if self.bf16 else loss for loss in terms.losses.values()])
        stats = {name: loss.detach() for name, loss in terms.losses.items()}
        return total.sum(), terms.carried, {**stats, **terms.stats}


ParallelPhase = DDPPhase | ZeROPhase  # a phase's module and optimiser over all ranks
PhaseWrapper = Callable[[nn.Module, torch.optim.Optimizer], ParallelPhase]


class PhaseRunner:
    """A phase with what it takes to carry it out."""

    def __init__(
        self,
        method: Method,
        phase: Phase,
        settings: Optimizer,
        wrap: PhaseWrapper,
        bf16: bool,
        device: torch.device,
    ) -> None:
        networks = method.networks
        self.phase, self.settings = phase, settings
        self.others = [n for name, n in networks.items() if name not in phase.networks] + [
            *method.auxiliary.values()
        ]
        # What other phases train: a network's running statistics move in its own turn only.
        # Networks rather than their buffers, since a wrapper may replace these.
        self.still = [
            networks[name]
            for other in method.phases
            if other is not phase
            for name in other.networks
        ]
        # Modules with state of their own for each step (spectral norm).
        advancing = (
            m for n in phase.networks for m in networks[n].modules() if hasattr(m, "advance")
        )
        self.advancing: list[Any] = list(advancing)
        self.norm = torch.zeros((), device=device)  # of the gradients of the last update
        self.bad = torch.zeros((), device=device)  # 1.0 where that update was left out, else 0.0
        kind: Any = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.name]
        options = settings.model_dump(include={"lr", "betas", "eps", "weight_decay"})
        self.optimizer: torch.optim.Optimizer = kind(
            _groups(networks, phase, settings.lr_factors), fused=True, **options
        )
        self.ranks = wrap(PhaseModule(method, phase, bf16, device), self.optimizer)
        # Also reached where DeepSpeed, which owns the gradients until then, calls the optimiser.
        self.optimizer.register_step_pre_hook(lambda *_: self._guard())

    @torch.no_grad()
    def _guard(self) -> None:
        """Before an update: clip, and have the fused kernel leave it out where it is not finite."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.norm = _norm([p.grad for p in parameters if p.grad is not None])
        if isinstance(self.ranks, ZeROPhase):  # of this rank's share of the gradients
            squares = self.norm.square()
            dist.all_reduce(squares)
            self.norm = squares.sqrt()
        self.bad = (~self.norm.isfinite()).float()
        if self.settings.clip is not None:
            clip_grads_with_norm_(parameters, self.settings.clip, self.norm)
        optimizer: Any = self.optimizer
        optimizer.grad_scale, optimizer.found_inf = None, self.bad


def _groups(
    networks: nn.ModuleDict, phase: Phase, factors: dict[str, float]
) -> list[dict[str, Any]]:
    """The parameters that a phase trains by their `lr_factor`, that of the longest of `factors`
    a name starts with.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    for network in phase.networks:
        for name, parameter in networks[network].named_parameters(network):
            if parameter.requires_grad:
                chosen = max(
                    (prefix for prefix in factors if starts_with(name, prefix)), key=len, default=""
                )
                groups.setdefault(factors.get(chosen, 1.0), []).append(parameter)
    return [{"params": parameters, "lr_factor": factor} for factor, parameters in groups.items()]


def _norm(gradients: list[Tensor]) -> Tensor:
    """Of all of them; of pieces first, since a CPU's float32 sum over millions has but four
    digits.
    """
    whole = [g if g.ndim else g[None] for g in gradients]
    return get_total_norm(
        [piece for g in whole for piece in torch.split(g, max(1, _PIECE * len(g) // g.numel()))]
    )


class Engine:
    """Owns the wrapped phases and optimisers of a method; knows nothing about GANs.

    Raises ValueError where phases share a network.
    """

    def __init__(
        self,
        method: Method,
        device: torch.device,
        settings: dict[str, Optimizer],
        *,
        wrap: PhaseWrapper,
        rank: int = 0,
        seed: int,
        bf16: bool = False,
        ema_half_life: int | None = None,
        compile: bool = False,
    ) -> None:
        names = [n for phase in method.phases for n in phase.networks]
        if len(set(names)) < len(names):
            raise ValueError(f"phases share a network, found {names}; each network has one phase")
        self.method, self.rank, self.seed = method, rank, seed
        self.ema = EMA(method, ema_half_life)
        self.meters = Meters(device)
        if compile:
            for network in itertools.chain(method.networks.values(), method.auxiliary.values()):
                network.compile(dynamic=False)
        self.turns = [
            PhaseRunner(method, phase, settings[phase.name], wrap, bf16, device)
            for phase in method.phases
        ]
        self.buffers = float_buffers(method.networks)
        self.nonfinite, self.in_a_row, self.worst = torch.zeros((3,), device=device)

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
                with unchanged(turn.still):
                    self.accumulate(turn, batches, contexts, carried)
                self.update(turn, rates[turn.phase.name])
            bad = torch.maximum(bad, turn.bad)
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

    def restore_nonfinite(self, steps: int, in_a_row: int, most: int) -> None:
        """Go on with a run's counts."""
        self.nonfinite.fill_(steps)
        self.in_a_row.fill_(in_a_row)
        self.worst.fill_(most)

    def accumulate(
        self,
        turn: PhaseRunner,
        batches: Sequence[Batch],
        contexts: Sequence[Context],
        carried: list[Batch | None],
    ) -> None:
        """The mean gradient over micro-batches and ranks; fills `carried`."""
        turn.optimizer.zero_grad()
        for i, (batch, context) in enumerate(zip(batches, contexts, strict=True)):
            context = replace(context, every=turn.settings.every)
            # The phase is not in the key: a fake made again by a later phase is the same fake.
            seed_all(self.seed, context.images_seen, self.rank, i)
            pieces, last = len(batches), i == len(batches) - 1
            handed_on, stats = turn.ranks.backward(
                batch, carried[i], context, pieces=pieces, last=last
            )
            carried[i] = {**(carried[i] or {}), **handed_on}
            self.meters.add(stats, 1 / pieces)

    def update(self, turn: PhaseRunner, rate: float) -> None:
        """The optimiser's step, unless a gradient is not finite."""
        for group in turn.optimizer.param_groups:
            group["lr"] = rate * group["lr_factor"]
        turn.ranks.step()
        self.meters.add({f"{turn.phase.name}_gradient": turn.norm})

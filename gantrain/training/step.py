"""One step of training: each phase runs on the micro-batches of one batch; then EMA follows.

`Engine.step` and `Engine.run_phase` show the order: forward and backward of each micro-batch, the
reduction over ranks, the gradient norm, the non-finite mask, clipping, the optimiser, EMA. Only
ZeRO hides a part of it: DeepSpeed owns the gradients until it calls the optimiser, so that the
optimiser's hook measures, masks and clips them there (see zero.py).
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from gantrain.core.errors import UserError
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
from gantrain.networks.protocol import PerStep
from gantrain.recipe.optimizer import Optimizer
from gantrain.runs.meters import Meters
from gantrain.training.ddp import DDPPhase
from gantrain.training.ema import EMA
from gantrain.training.gradients import clip_gradients, gradient_norm, skip_if_nonfinite
from gantrain.training.zero import ZeROPhase

ParallelPhase = DDPPhase | ZeROPhase
PhaseWrapper = Callable[[nn.Module, torch.optim.Optimizer], ParallelPhase]

_OPTIMIZERS: dict[str, type[torch.optim.Adam | torch.optim.AdamW]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


class PhaseModule(nn.Module):
    """A phase as a module that owns only the networks that the phase trains.

    DDP and DeepSpeed wrap this module, so a micro-batch has one forward and one backward.
    """

    def __init__(self, method: Method, phase: Phase, bf16: bool, device: torch.device) -> None:
        super().__init__()
        self.trained = nn.ModuleDict({name: method.networks[name] for name in phase.networks})
        self.terms = phase.terms
        self.bf16 = bf16
        self.device = device
        self.phase_name = phase.name
        self.method_name = type(method).__name__

    def forward(
        self, batch: Batch, carried: Batch | None, context: Context
    ) -> tuple[Tensor, Batch, dict[str, Tensor]]:
        """Return the sum of the losses, what the phase carries on, and scalars for the meters."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            terms = self.terms(batch, carried, context)
        check_terms(terms, self.phase_name, self.method_name)
        losses = list(terms.losses.values())
        if self.bf16:
            losses = [loss.float() for loss in losses]
        stats = {name: loss.detach() for name, loss in terms.losses.items()}
        stats.update(terms.stats)
        return torch.stack(losses).sum(), terms.carried, stats


class PhaseRunner:
    """A phase with its optimiser, its module over all ranks, and the networks it leaves alone.

    other_networks: what the phase does not train and therefore freezes.
    still_networks: what other phases train. Running statistics move only in a network's own phase.
    stepwise_modules: modules of this phase with a state of their own for each step (spectral norm).
    """

    def __init__(
        self,
        method: Method,
        phase: Phase,
        settings: Optimizer,
        wrap: PhaseWrapper,
        bf16: bool,
        device: torch.device,
    ) -> None:
        self.phase = phase
        self.settings = settings
        self.other_networks = [
            network for name, network in method.networks.items() if name not in phase.networks
        ]
        self.other_networks += method.auxiliary.values()
        # Networks instead of their buffers, because a wrapper may replace a buffer.
        self.still_networks: list[nn.Module] = []
        for other in method.phases:
            if other is not phase:
                self.still_networks += [method.networks[name] for name in other.networks]
        self.stepwise_modules: list[PerStep] = []
        for name in phase.networks:
            for module in method.networks[name].modules():
                if isinstance(module, PerStep):
                    self.stepwise_modules.append(module)
        groups = _parameter_groups(method.networks, phase, settings.lr_factors)
        options = settings.model_dump(include={"lr", "betas", "eps", "weight_decay"})
        self.optimizer: torch.optim.Optimizer = _OPTIMIZERS[settings.name](
            groups, fused=True, **options
        )
        self.parallel = wrap(PhaseModule(method, phase, bf16, device), self.optimizer)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Return the parameters that this rank's optimiser updates."""
        parameters: list[nn.Parameter] = []
        for group in self.optimizer.param_groups:
            parameters += group["params"]
        return parameters

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set the learning rate of each group of parameters, scaled by the group's factor."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate * group["lr_factor"]


class Engine:
    """Runs the phases of a method with their optimisers; it knows nothing about GANs.

    Raises UserError where two phases train the same network.
    """

    def __init__(  # noqa: PLR0913 (the settings of a run, by name)
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
        names: list[str] = []
        for phase in method.phases:
            names += phase.networks
        if len(set(names)) < len(names):
            raise UserError(f"phases share a network, found {names}; each network has one phase")
        self.method = method
        self.rank = rank
        self.seed = seed
        self.ema = EMA(method, ema_half_life)
        self.meters = Meters(device)
        if compile:
            for network in itertools.chain(method.networks.values(), method.auxiliary.values()):
                network.compile(dynamic=False)
        self.phases = [
            PhaseRunner(method, phase, settings[phase.name], wrap=wrap, bf16=bf16, device=device)
            for phase in method.phases
        ]
        self.buffers = float_buffers(method.networks)
        # Counts of steps that were undone: all, in a row until now, the most in a row.
        self.nonfinite = torch.zeros((), device=device)
        self.in_a_row = torch.zeros((), device=device)
        self.worst = torch.zeros((), device=device)

    def step(
        self,
        batches: Sequence[Batch],
        contexts: Sequence[Context],
        learning_rates: dict[str, float],
    ) -> None:
        """Run every phase whose turn it is, then update the average of the weights.

        batches, contexts: one for each micro-batch of this rank. learning_rates: by phase. An
        update whose gradients are not finite is skipped on all ranks alike, and the step's changes
        of buffers are undone. The host never reads the device here.
        """
        context = contexts[0]
        buffers_before = [buffer.clone() for buffer in self.buffers]
        carried: list[Batch | None] = [None] * len(batches)
        is_nonfinite = torch.zeros_like(self.nonfinite)

        for runner in self.phases:
            if context.step % runner.settings.interval_steps == 0:
                learning_rate = learning_rates[runner.phase.name]
                phase_is_nonfinite = self.run_phase(
                    runner, batches, contexts, carried, learning_rate=learning_rate
                )
                is_nonfinite = torch.maximum(is_nonfinite, phase_is_nonfinite)

        for buffer, before in zip(self.buffers, buffers_before, strict=True):
            buffer.copy_(torch.where(is_nonfinite > 0, before, buffer))
        images_seen = context.images_seen + context.batch_size
        self.ema.update(images_seen, context.batch_size, 1 - is_nonfinite)
        self.nonfinite += is_nonfinite
        self.in_a_row = (self.in_a_row + is_nonfinite) * is_nonfinite
        self.worst = torch.maximum(self.worst, self.in_a_row)

    def run_phase(
        self,
        runner: PhaseRunner,
        batches: Sequence[Batch],
        contexts: Sequence[Context],
        carried: list[Batch | None],
        learning_rate: float,
    ) -> Tensor:
        """Run one phase: the gradients of all micro-batches, then one update.

        carried: what earlier phases of this step carry on, by micro-batch; the phase adds its own.
        Returns a scalar on the device, 1 where the gradients are not finite, else 0.
        """
        with frozen(runner.other_networks):
            for module in runner.stepwise_modules:
                module.advance()

            # Forward and backward. The last backward averages the gradients over the ranks.
            runner.optimizer.zero_grad()
            pieces = len(batches)
            with unchanged(runner.still_networks):
                for index, batch in enumerate(batches):
                    context = replace(
                        contexts[index], interval_steps=runner.settings.interval_steps
                    )
                    # Without the phase: a fake that a later phase makes again is the same fake.
                    seed_all(self.seed, context.images_seen, self.rank, index)
                    new_carried, stats = runner.parallel.backward(
                        batch, carried[index], context, pieces=pieces, last=index == pieces - 1
                    )
                    carried[index] = {**(carried[index] or {}), **new_carried}
                    self.meters.add(stats, 1 / pieces)

            # The gradient norm, the non-finite mask, clipping, the optimiser.
            runner.set_learning_rate(learning_rate)
            if isinstance(runner.parallel, ZeROPhase):
                norm, is_nonfinite = runner.parallel.step(runner.settings.grad_clip_norm)
            else:
                norm = gradient_norm(runner.parameters)
                is_nonfinite = skip_if_nonfinite(runner.optimizer, norm)
                clip_gradients(runner.parameters, norm, runner.settings.grad_clip_norm)
                runner.optimizer.step()
            self.meters.add({f"{runner.phase.name}_gradient": norm})
        return is_nonfinite

    def read_nonfinite(self) -> tuple[int, int]:
        """Return how many steps were undone, and the most in a row since the last call.

        Reads the device.
        """
        steps = int(self.nonfinite)
        most_in_a_row = int(self.worst)
        self.worst.zero_()
        return steps, most_in_a_row

    def restore_nonfinite(self, steps: int, in_a_row: int, most: int) -> None:
        """Continue the counts of a saved run."""
        self.nonfinite.fill_(steps)
        self.in_a_row.fill_(in_a_row)
        self.worst.fill_(most)


def _parameter_groups(
    networks: nn.ModuleDict, phase: Phase, factors: dict[str, float]
) -> list[dict[str, object]]:
    """Group the parameters that a phase trains by their factor of the learning rate.

    factors: by the start of a parameter's dotted name. The longest start that fits counts.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    for network in phase.networks:
        for name, parameter in networks[network].named_parameters(network):
            if parameter.requires_grad:
                prefixes = [prefix for prefix in factors if starts_with(name, prefix)]
                factor = factors[max(prefixes, key=len)] if prefixes else 1.0
                groups.setdefault(factor, []).append(parameter)
    return [{"params": parameters, "lr_factor": factor} for factor, parameters in groups.items()]

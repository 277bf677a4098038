"""One step of training: each phase runs on the micro-batches of one batch; then EMA follows.

`Engine.step` and `Engine.run_phase` show the order: forward and backward of each micro-batch, the
reduction over the ranks, the gradient norm, the non-finite mask, clipping, the optimiser, EMA. Only
ZeRO hides a part of it: DeepSpeed owns the gradients until it calls the optimiser, so that the
optimiser's hook measures, masks and clips them there (see zero.py).
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from gantrain.core.errors import UserError
from gantrain.core.rng import seed_all
from gantrain.methods.base import Batch, Context, Method, float_buffers, frozen, unchanged
from gantrain.recipe.optimizer import Optimizer
from gantrain.runs.meters import Meters
from gantrain.training.buffer_guard import BufferGuard
from gantrain.training.ema import EMA
from gantrain.training.gradients import clip_gradients, gradient_norm, skip_if_nonfinite
from gantrain.training.phase_runner import PhaseRunner, PhaseWrapper
from gantrain.training.zero import ZeROPhase


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
        self.ema.match_layout()
        self.buffer_guard = BufferGuard(float_buffers(method.networks))
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
        self.buffer_guard.keep()
        carried: list[Batch | None] = [None] * len(batches)
        is_nonfinite = torch.zeros_like(self.nonfinite)

        due = [
            runner for runner in self.phases if context.step % runner.settings.interval_steps == 0
        ]
        # Results of `forward`, which earlier phases see detached. Their own phase uses the graph.
        kept_forwards: dict[str, Batch] = {}
        for runner in due[1:]:
            if runner.may_keep_forward and len(batches) == 1:
                made = self.run_forward(runner, batches[0], context)
                kept_forwards[runner.phase.name] = made
                carried[0] = {**(carried[0] or {}), **_detached(made)}

        for runner in due:
            phase_is_nonfinite = self.run_phase(
                runner,
                batches,
                contexts,
                carried=carried,
                kept_forward=kept_forwards.pop(runner.phase.name, {}),
                learning_rate=learning_rates[runner.phase.name],
            )
            is_nonfinite = torch.maximum(is_nonfinite, phase_is_nonfinite)

        self.buffer_guard.undo_where(is_nonfinite)
        images_seen = context.images_seen + context.batch_size
        self.ema.update(images_seen, context.batch_size, is_nonfinite)
        self.nonfinite += is_nonfinite
        self.in_a_row = (self.in_a_row + is_nonfinite) * is_nonfinite
        self.worst = torch.maximum(self.worst, self.in_a_row)

    @property
    def may_keep_forward(self) -> bool:
        """Return whether a step of one micro-batch keeps a forward for a later phase."""
        return any(runner.may_keep_forward for runner in self.phases[1:])

    def run_forward(self, runner: PhaseRunner, batch: Batch, context: Context) -> Batch:
        """Run a phase's `forward` before its turn. Return its tensors with their graph.

        It runs in the settings of its own phase. In another phase's turn the networks are frozen,
        and the result would have no graph.
        """
        context = replace(context, interval_steps=runner.settings.interval_steps)
        seed_all(self.seed, context.images_seen, self.rank, 0)
        with frozen(runner.other_networks), unchanged(runner.still_networks):
            return runner.module.run_forward(batch, context)

    def run_phase(
        self,
        runner: PhaseRunner,
        batches: Sequence[Batch],
        contexts: Sequence[Context],
        *,
        carried: list[Batch | None],
        kept_forward: Batch,
        learning_rate: float,
    ) -> Tensor:
        """Run one phase: the gradients of all micro-batches, then one update.

        carried: what earlier phases of this step carry on, by micro-batch; the phase adds its own.
        kept_forward: the tensors of the phase's `forward` with their graph, where the step has run
        it; else empty.
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
                    given = carried[index]
                    if kept_forward:
                        given = {**(given or {}), **kept_forward}
                    new_carried, stats = runner.parallel.backward(
                        batch, given, context, pieces=pieces, last=index == pieces - 1
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


def _detached(tensors: Batch) -> Batch:
    return {name: tensor.detach() for name, tensor in tensors.items()}

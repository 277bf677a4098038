"""A phase as the engine runs it: its module, its optimiser, and the networks it leaves alone."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gantrain.methods.base import Batch, Context, Method, Phase, starts_with
from gantrain.methods.terms_check import check_forward, check_terms
from gantrain.networks.protocol import PerStep
from gantrain.recipe.optimizer import Optimizer
from gantrain.training.ddp import DDPPhase
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
        self.phase = phase
        self.bf16 = bf16
        self.device = device
        self.method_name = type(method).__name__

    def forward(
        self, batch: Batch, carried: Batch | None, context: Context
    ) -> tuple[Tensor, Batch, dict[str, Tensor]]:
        """Return the sum of the losses, what the phase carries on, and scalars for the meters."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            terms = self.phase.terms(batch, carried, context)
        check_terms(terms, self.phase.name, self.method_name)
        losses = list(terms.losses.values())
        if self.bf16:
            losses = [loss.float() for loss in losses]
        stats = {name: loss.detach() for name, loss in terms.losses.items()}
        stats.update(terms.stats)
        return torch.stack(losses).sum(), terms.carried, stats

    def run_forward(self, batch: Batch, context: Context) -> Batch:
        """Return the tensors of the phase's `forward` with their graph."""
        assert self.phase.forward is not None
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            tensors = self.phase.forward(batch, context)
        check_forward(tensors, self.phase.name, self.method_name)
        return tensors


class PhaseRunner:
    """A phase with its optimiser, its module over all ranks, and the networks it leaves alone.

    other_networks: what the phase does not train and therefore freezes.
    still_networks: what other phases train. Running statistics move only in a network's own phase.
    stepwise_modules: modules of this phase with a state of their own for each step (spectral norm).
    module: the phase's module without its wrapper, which `parallel` holds.
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
        self.module = PhaseModule(method, phase, bf16, device)
        self.parallel = wrap(self.module, self.optimizer)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Return the parameters that this rank's optimiser updates."""
        parameters: list[nn.Parameter] = []
        for group in self.optimizer.param_groups:
            parameters += group["params"]
        return parameters

    @property
    def may_keep_forward(self) -> bool:
        """Return whether one forward may serve this phase and an earlier phase of the step.

        A state that moves on at each step moves between them, so that their forwards differ.
        """
        return self.phase.forward is not None and not self.stepwise_modules

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set the learning rate of each group of parameters, scaled by the group's factor."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate * group["lr_factor"]


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

"""A phase under DDP: every rank has all of its weights, gradients and optimiser."""

import contextlib
import warnings
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from gantrain.methods.base import Batch
from gantrain.runs.checkpoint import Tensors

# find_unused_parameters keeps the buckets as they were built. Otherwise DDP rebuilds them after
# the first backward, which changes the order of its sums: a resumed run would differ in the last
# bits. Buffers are rank 0's at evaluation, so broadcasting them each step is waste.
_OPTIONS = DistributedDataParallelKwargs(
    broadcast_buffers=False, find_unused_parameters=True, gradient_as_bucket_view=True
)


class DDPPhase:
    """The phase's module and its optimiser; without an accelerator this rank's only."""

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        accelerator: Accelerator | None = None,
    ) -> None:
        self.module, self.optimizer = module, optimizer
        if accelerator is not None:
            accelerator.ddp_handler = _OPTIONS
            # Told to look for unused parameters, DDP warns on each rank where it finds none.
            module.register_parameter(
                "unused", nn.Parameter(next(module.parameters()).new_zeros(1))
            )
            with warnings.catch_warnings():
                # Newer torch has another name for broadcast_buffers, which older torch lacks.
                warnings.filterwarnings(
                    "ignore", message=".*broadcast_buffers", category=FutureWarning
                )
                self.module = accelerator.prepare_model(module)

    def backward(self, *inputs: Any, pieces: int, last: bool) -> tuple[Batch, dict[str, Tensor]]:
        """One micro-batch of `pieces`; after the last the gradients are the ranks' mean."""
        alone = not last and isinstance(self.module, DistributedDataParallel)
        waiting: Any = self.module.no_sync if alone else contextlib.nullcontext
        with waiting():
            loss, carried, stats = self.module(*inputs)
            (loss / pieces).backward()
        return carried, stats

    def __str__(self) -> str:
        return "DDP" if isinstance(self.module, DistributedDataParallel) else "one process"

    def state(self, names: dict[nn.Parameter, str]) -> Tensors:
        """The optimiser's, by parameter: `generator.downs.0.weight/exp_avg`."""
        state: dict[Any, Tensors] = self.optimizer.state
        return {
            f"{names[p]}/{key}": value
            for p, values in state.items()
            for key, value in values.items()
        }

    def load_state(self, saved: Tensors, names: dict[nn.Parameter, str]) -> None:
        """Put it back, each tensor with its parameter's strides.

        Fused Adam pairs elements by their place in memory: a contiguous moment beside a
        channels_last weight would silently update the wrong elements."""
        parameters = {names[p]: p for group in self.optimizer.param_groups for p in group["params"]}
        for key, value in saved.items():
            name, part = key.rsplit("/", 1)
            p = parameters[name]
            like = torch.empty_like(p) if value.shape == p.shape else torch.empty(value.shape)
            target = like.to(device=p.device, dtype=value.dtype)
            self.optimizer.state[p][part] = target.copy_(value)

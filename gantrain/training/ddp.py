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
        self.module = module
        self.optimizer = optimizer
        if accelerator is not None:
            accelerator.ddp_handler = _OPTIONS
            # DDP looks for unused parameters here, and warns on each rank where it finds none.
            module.register_parameter(
                "unused", nn.Parameter(next(module.parameters()).new_zeros(1))
            )
            with warnings.catch_warnings():
                # Newer torch has another name for broadcast_buffers, which older torch lacks.
                warnings.filterwarnings(
                    "ignore", message=".*broadcast_buffers", category=FutureWarning
                )
                self.module = accelerator.prepare_model(module)

    def backward(self, *inputs: object, pieces: int, last: bool) -> tuple[Batch, dict[str, Tensor]]:
        """Compute forward and backward of one micro-batch of `pieces`.

        After the last one the gradients are the mean of the ranks. Returns what the phase carries
        on, and scalars for the meters.
        """
        sync: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        if isinstance(self.module, DistributedDataParallel) and not last:
            sync = self.module.no_sync()
        with sync:
            loss, carried, stats = self.module(*inputs)
            (loss / pieces).backward()
        return carried, stats

    def __str__(self) -> str:
        return "DDP" if isinstance(self.module, DistributedDataParallel) else "one process"

    def state(self, names: dict[nn.Parameter, str]) -> Tensors:
        """Return the optimiser's tensors by parameter: `generator.downs.0.weight/exp_avg`."""
        state: dict[Any, Tensors] = self.optimizer.state
        tensors: Tensors = {}
        for parameter, values in state.items():
            for key, value in values.items():
                tensors[f"{names[parameter]}/{key}"] = value
        return tensors

    def load_state(self, saved: Tensors, names: dict[nn.Parameter, str]) -> None:
        """Restore the optimiser's tensors, each with the strides of its parameter.

        Fused Adam pairs elements by their place in memory: a contiguous moment beside a
        channels_last weight would silently update the wrong elements.
        """
        parameters: dict[str, nn.Parameter] = {}
        for group in self.optimizer.param_groups:
            parameters |= {names[p]: p for p in group["params"]}
        for key, value in saved.items():
            name, moment = key.rsplit("/", 1)
            parameter = parameters[name]
            if value.shape == parameter.shape:
                empty = torch.empty_like(parameter)
            else:
                empty = torch.empty(value.shape)
            target = empty.to(device=parameter.device, dtype=value.dtype)
            self.optimizer.state[parameter][moment] = target.copy_(value)

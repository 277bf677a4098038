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
            with warnings.catch_warnings():
                # Newer torch has another name for broadcast_buffers, which older torch lacks.
                warnings.filterwarnings(
                    "ignore", message=".*broadcast_buffers", category=FutureWarning
                )
                self.module = accelerator.prepare_model(module)
                if isinstance(self.module, DistributedDataParallel):
                    _use_up_warning(accelerator.device)

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


def _use_up_warning(device: torch.device) -> None:
    """Use up DDP's warning that it found no unused parameter, which is what we want.

    DDP gives it once in a process, and writes it to stderr by itself. Inside of a function of torch
    that calls Python it leaves it to Python, which ignores it here. A small module of its own does
    this, because a search also begins a reduction. A parameter that is never used would prevent the
    warning too, but the host would then wait for the device in each backward pass, to learn which
    ranks use it.
    """
    module = DistributedDataParallel(nn.Linear(1, 1, device=device), find_unused_parameters=True)
    images = torch.ones(1, 1, device=device)

    def search(value: float) -> float:
        module(images)
        return value

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="find_unused_parameters=True was specified")
        torch.zeros(1).apply_(search)

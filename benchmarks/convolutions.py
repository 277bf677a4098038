"""The convolutions of a recipe's step in isolation, which are the peak of its rate.

A recorder lists the forward and backward passes of all convolutions of one step, in every network
of the method. `ConvolutionPasses` runs the same passes on tensors of the same shapes, which are in
the row's precision and memory format already. Nothing else of a step is left: no casts, norms,
activations, optimisers or transfers.
"""

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from gantrain.bench.training_loops import Plain, Trained, cycle, float_batch
from gantrain.training.setup import RunSetup

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp64": torch.float64}
_aten = torch.ops.aten
Shape = tuple[int, ...]


class Pass(NamedTuple):
    """A forward or a backward pass of a convolution, with the shapes of its tensors.

    output: the shape of the output's gradient in a backward pass; None in a forward pass. needed:
    whether a backward pass computes the gradients of the input and of the weight.
    """

    input: Shape
    weight: Shape
    output: Shape | None
    stride: Shape
    padding: Shape
    dilation: Shape
    is_transposed: bool
    output_padding: Shape
    groups: int
    needed: tuple[bool, bool]


class ConvolutionRecorder(TorchDispatchMode):
    """Lists the passes of all convolutions that run inside the context, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.passes: list[Pass] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is _aten.convolution.default:
            inputs, weight, _bias, *options = args
            self.passes.append(_pass(inputs, weight, None, options, (True, True)))
        elif func is _aten.convolution_backward.default:
            gradient, inputs, weight, _bias_sizes, *options, mask = args
            needed = (bool(mask[0]), bool(mask[1]))
            self.passes.append(_pass(inputs, weight, tuple(gradient.shape), options, needed))
        return func(*args, **(kwargs or {}))


def _pass(
    inputs: Tensor,
    weight: Tensor,
    output: Shape | None,
    options: list[Any],
    needed: tuple[bool, bool],
) -> Pass:
    """Return a pass by the arguments of its call. options: those that follow the tensors."""
    stride, padding, dilation, is_transposed, output_padding, groups = options
    return Pass(
        tuple(inputs.shape),
        tuple(weight.shape),
        output,
        tuple(stride),
        tuple(padding),
        tuple(dilation),
        is_transposed,
        tuple(output_padding),
        groups,
        needed,
    )


def eager(setup: RunSetup) -> RunSetup:
    """Return a copy of the setup whose networks are not compiled.

    The passes of compiled networks can be neither counted nor recorded.
    """
    copied = copy.copy(setup)
    copied.recipe = setup.recipe.model_copy(update={"compile": False})
    return copied


def record_step(setup: RunSetup, plain_images: int = 0) -> list[Pass]:
    """Return the passes of this rank's step, over a whole cycle of steps.

    The networks are thrown away. plain_images: record the plain loop at this batch instead.
    """
    copied = eager(setup)
    if plain_images:
        step = Plain(copied).on(float_batch(copied, plain_images))
    else:
        step = Trained(copied, exchange=False)
    with ConvolutionRecorder() as recorder:
        for _ in range(1 if plain_images else cycle(setup)):
            step()
    assert recorder.passes, "the step has no convolutions"
    return recorder.passes


class ConvolutionPasses:
    """Runs passes of convolutions, in their order.

    Tensors of equal shapes are shared. tflop: the floating-point operations of a call, 1e12.
    """

    def __init__(
        self, passes: list[Pass], precision: str, channels_last: bool, device: torch.device
    ) -> None:
        self.passes = passes
        self.dtype = DTYPES[precision]
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.device = device
        self.tensors: dict[Shape, Tensor] = {}
        for one in passes:
            for shape in (one.input, one.weight, one.output):
                if shape is not None and shape not in self.tensors:
                    self.tensors[shape] = self._tensor(shape)
        with FlopCounterMode(display=False) as counter:
            self()
        self.tflop = counter.get_total_flops() / 1e12

    def _tensor(self, shape: Shape) -> Tensor:
        values = torch.randn(shape, device=self.device).mul_(0.1).to(self.dtype)
        return values.contiguous(memory_format=self.layout) if len(shape) == 4 else values

    def __call__(self) -> None:
        for one in self.passes:
            inputs = self.tensors[one.input]
            weight = self.tensors[one.weight]
            options = one[3:9]
            if one.output is None:
                _aten.convolution(inputs, weight, None, *options)
            else:
                gradient = self.tensors[one.output]
                mask = [*one.needed, False]
                _aten.convolution_backward(gradient, inputs, weight, None, *options, mask)

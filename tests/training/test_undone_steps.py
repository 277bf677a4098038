"""The average of the weights, and what undoes a step in buffers: values and numbers of kernels."""

from typing import Any

import pytest
import torch
from small_methods import full_method
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from gantrain.core.component import build
from gantrain.methods import METHODS
from gantrain.training.buffer_guard import BufferGuard
from gantrain.training.ema import EMA


class Operators(TorchDispatchMode):
    """Notes the names of the operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def flag(value: float) -> Tensor:
    return torch.tensor(float(value))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_average_is_the_lerp(dtype: torch.dtype, memory_format: torch.memory_format) -> None:
    torch.manual_seed(0)
    method = build(METHODS, full_method("pix2pix"), source_channels=3, target_channels=3)
    method = method.to(dtype).to(memory_format=memory_format)
    ema = EMA(method, 40)
    expected = [p.detach().clone() for p in method.networks["generator"].parameters()]
    for number in range(1, 4):
        with torch.no_grad():
            for parameter in method.networks["generator"].parameters():
                parameter.add_(torch.randn_like(parameter))
        ema.update(number * 1000, 4, flag(0))
        for average, live in zip(expected, ema._sources, strict=True):
            average.lerp_(live.detach(), 1 - 0.5 ** (4 / 40))
        for ours, average in zip(ema._averaged, expected, strict=True):
            assert torch.allclose(ours, average, rtol=1e-6, atol=1e-6)


def test_the_average_takes_one_operator_and_ignores_what_is_not_finite() -> None:
    method = build(METHODS, full_method("pix2pix"), source_channels=3, target_channels=3)
    ema = EMA(method, 40)
    before = [average.clone() for average in ema._averaged]
    with torch.no_grad():
        for source in ema._sources:
            source.fill_(float("nan"))
    is_undone = flag(1)
    with Operators() as operators:
        ema.update(1000, 4, is_undone)
    assert operators.names == ["_fused_sgd_"]
    for average, value in zip(ema._averaged, before, strict=True):
        assert torch.equal(average, value)


def test_the_average_follows_weights_whose_layout_a_wrapper_has_changed() -> None:
    method = build(METHODS, full_method("pix2pix"), source_channels=3, target_channels=3)
    method = method.to(memory_format=torch.channels_last)
    ema = EMA(method, 4)
    before = [average.clone() for average in ema._averaged]
    with torch.no_grad():
        for source in ema._sources:
            source.data = torch.randn(source.shape)
    ema.match_layout()
    for average, value in zip(ema._averaged, before, strict=True):
        assert torch.equal(average, value)
    ema.update(1000, 4, flag(0))  # a half-life of one step: the mean
    for average, value, source in zip(ema._averaged, before, ema._sources, strict=True):
        assert torch.allclose(average, (value + source) / 2, rtol=1e-5, atol=1e-6)


def buffers() -> list[Tensor]:
    """Buffers of several types, sizes and layouts."""
    torch.manual_seed(1)
    return [
        torch.randn(3),
        torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        torch.randn(4, dtype=torch.float64),
        torch.randn(()),
        torch.randn(6)[::2],
        torch.randn(0),
        torch.randn(5, dtype=torch.float64),
    ]


@pytest.mark.parametrize("new", [0.5, float("nan"), float("inf")])
def test_buffers_of_an_undone_step_are_as_before(new: float) -> None:
    ours = buffers()
    guard = BufferGuard(ours)
    for is_undone in (0, 1, 0, 1):
        before = [buffer.clone() for buffer in ours]
        guard.keep()
        for buffer in ours:
            buffer.fill_(new)
        guard.undo_where(flag(is_undone))
        for buffer, value in zip(ours, before, strict=True):
            expected = value if is_undone else torch.full_like(value, new)
            assert torch.equal(buffer.nan_to_num(7), expected.nan_to_num(7))


@pytest.mark.parametrize("count", [1, 50])
def test_the_number_of_kernels_does_not_grow_with_that_of_the_buffers(count: int) -> None:
    guard = BufferGuard([nn.Parameter(torch.randn(4), requires_grad=False) for _ in range(count)])
    is_undone = flag(0)
    with Operators() as operators:
        guard.keep()
        guard.undo_where(is_undone)
    assert operators.names.count("_foreach_copy_") == 3
    assert len(operators.names) == 5  # and the comparison and the choice
    with Operators() as operators:
        BufferGuard([]).keep()
    assert operators.names == []

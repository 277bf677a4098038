"""One forward of a generator serves the turns of the discriminators and of the generator.

That is the case with `order: discriminator_first`, where the mathematics is the same.
"""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from small_methods import full_method
from torch import Tensor

from gantrain.core.component import build
from gantrain.methods import METHODS
from gantrain.methods.base import Batch, Context
from gantrain.networks.gradient_checkpointing import recompute
from gantrain.recipe.schema import Optimizer
from gantrain.training.ddp import DDPPhase
from gantrain.training.phase_runner import PhaseRunner
from gantrain.training.step import Engine

BATCH = 4
STEPS = 3
PIX2PIX: dict[str, Any] = {**full_method("pix2pix"), "order": "discriminator_first"}
UNET = PIX2PIX["generator"]
PATCHGAN = PIX2PIX["discriminator"]
R1 = {"name": "r1", "interval_steps": 1}
MORE = [{"network": {**PATCHGAN, "width": 4}, "adversarial": "lsgan"}]
CUT: dict[str, Any] = {**full_method("cut"), "order": "discriminator_first", "augment": []}
NO_IDENTITY = {"identity": False}
MIRRORED = {"identity": False, "flip_equivariance": True}

# The method, and the intervals of its phases.
CASES: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "pix2pix": (PIX2PIX, {}),
    "penalty and pool": ({**PIX2PIX, "penalties": [R1], "pool": 8}, {}),
    "several discriminators": ({**PIX2PIX, "more_discriminators": MORE}, {"discriminator_1": 2}),
    "generator seldom": (PIX2PIX, {"generator": 2}),
    "discriminator seldom": (PIX2PIX, {"discriminator": 2}),
    "batch norm": (
        {
            **PIX2PIX,
            "generator": {**UNET, "norm": "batch"},
            "discriminator": {**PATCHGAN, "norm": "batch"},
        },
        {},
    ),
    "relativistic": ({**PIX2PIX, "adversarial": "relativistic"}, {}),
    "cut": (CUT, {}),
    "cut without identity": ({**CUT, **NO_IDENTITY}, {}),
    "fastcut": ({**CUT, **MIRRORED}, {"generator": 2}),
}


class Counted:
    """An engine in float64 whose generator counts its forwards."""

    def __init__(
        self,
        options: dict[str, Any],
        intervals: dict[str, int],
        *,
        checkpointed: bool = False,
        compiled: bool = False,
    ) -> None:
        torch.manual_seed(0)
        method = build(METHODS, options, source_channels=3, target_channels=3).double()
        if checkpointed:
            recompute(method.networks["generator"])
        self.calls = 0
        method.networks["generator"].register_forward_pre_hook(self._count)
        settings = {
            phase.name: Optimizer(lr=1e-3, interval_steps=intervals.get(phase.name, 1))
            for phase in method.phases
        }
        self.engine = Engine(
            method,
            torch.device("cpu"),
            settings,
            wrap=DDPPhase,
            seed=0,
            ema_half_life=100,
            compile=compiled,
        )

    def _count(self, *_: object) -> None:
        self.calls += 1

    def step(self, number: int, *, micro_batch_size: int = BATCH, broken: bool = False) -> int:
        """Run a step; return how many forwards the generator ran."""
        generator = torch.Generator().manual_seed(number)
        batch = {}
        for role in ("source", "target"):
            images = torch.rand(BATCH, 3, 32, 32, dtype=torch.float64, generator=generator)
            batch[role] = images * 2 - 1
            if broken:
                batch[role] *= float("nan")
        batches, contexts = _split(batch, number, micro_batch_size)
        rates = {runner.phase.name: 1e-3 for runner in self.engine.phases}
        before = self.calls
        self.engine.step(batches, contexts, rates)
        return self.calls - before

    def weights(self) -> dict[str, Tensor]:
        return {k: v.clone() for k, v in self.engine.method.networks.state_dict().items()}


def _split(
    batch: Batch, number: int, micro_batch_size: int
) -> tuple[Sequence[Batch], Sequence[Context]]:
    batches = []
    contexts = []
    for start in range(0, BATCH, micro_batch_size):
        stop = start + micro_batch_size
        batches.append({role: images[start:stop] for role, images in batch.items()})
        first = number * BATCH
        positions = tuple(range(first + start, first + stop))
        contexts.append(Context(0, first, BATCH, positions))
    return batches, contexts


def assert_equal(
    found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-9
) -> None:
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=tolerance, msg=name)


@pytest.mark.parametrize("case", CASES)
def test_weights_are_those_of_a_second_forward(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that keeps its forwards equals one that makes its fakes again."""
    options, intervals = CASES[case]
    kept = Counted(options, intervals)
    calls = [kept.step(number) for number in range(STEPS)]
    monkeypatch.setattr(PhaseRunner, "may_keep_forward", False)
    again = Counted(options, intervals)
    calls_again = [again.step(number) for number in range(STEPS)]
    assert_equal(kept.weights(), again.weights())
    # One forward in every step in which the generator has a turn, and a further one for each
    # discriminator whose turn comes before.
    for number in range(STEPS):
        judges = len(kept.engine.phases) - 1
        judges -= sum(number % n != 0 for name, n in intervals.items() if name != "generator")
        generator_is_due = number % intervals.get("generator", 1) == 0
        assert calls_again[number] == judges + generator_is_due
        assert calls[number] == (1 if generator_is_due else judges)


def test_a_forward_with_several_micro_batches_or_spectral_norm_is_made_again() -> None:
    plain = Counted(PIX2PIX, {})
    assert plain.step(0, micro_batch_size=BATCH) == 1
    assert plain.step(1, micro_batch_size=2) == 4
    spectral = Counted({**PIX2PIX, "generator": {**UNET, "spectral_norm": True}}, {})
    assert spectral.step(0) == 2
    first = Counted({**PIX2PIX, "order": "generator_first"}, {})
    assert first.step(0) == 1


def test_weights_do_not_depend_on_a_change_of_the_micro_batches() -> None:
    """As on resuming with another `micro_batch_size`."""
    whole = Counted(PIX2PIX, {})
    changing = Counted(PIX2PIX, {})
    for number, micro_batch_size in enumerate((4, 2, 1, 4)):
        whole.step(number)
        changing.step(number, micro_batch_size=micro_batch_size)
    assert_equal(changing.weights(), whole.weights())


@pytest.mark.parametrize("case", ["pix2pix", "cut", "fastcut"])
def test_gradient_checkpointing_changes_nothing(case: str) -> None:
    options, _ = CASES[case]
    plain = Counted(options, {})
    checkpointed = Counted(options, {}, checkpointed=True)
    for number in range(STEPS):
        plain.step(number)
        checkpointed.step(number)
    assert_equal(checkpointed.weights(), plain.weights())


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", ["several discriminators", pytest.param("cut", marks=pytest.mark.exhaustive)]
)
def test_compiled_equals_eager(case: str) -> None:
    options, intervals = CASES[case]
    torch._dynamo.reset()
    eager = Counted(options, intervals)
    compiled = Counted(options, intervals, compiled=True)
    for number in range(STEPS):
        eager.step(number)
        compiled.step(number)
    # Adam amplifies the rounding noise of biases that have no gradient.
    assert_equal(compiled.weights(), eager.weights(), tolerance=1e-7)


@pytest.mark.parametrize("case", ["pix2pix", "batch norm"])
def test_a_step_that_is_not_finite_changes_nothing(case: str) -> None:
    options, intervals = CASES[case]
    counted = Counted(options, intervals)
    counted.step(0)
    before = counted.weights()
    counted.step(1, broken=True)
    after = counted.weights()
    for name, value in before.items():
        if "num_batches_tracked" not in name:
            assert torch.equal(after[name], value), name
    assert counted.engine.read_nonfinite() == (1, 1)
    counted.step(2)
    assert counted.engine.read_nonfinite() == (1, 0)


def test_running_statistics_move_once_a_step() -> None:
    options, intervals = CASES["batch norm"]
    counted = Counted(options, intervals)
    for number in range(STEPS):
        counted.step(number)
    for name, value in counted.weights().items():
        if name.startswith("generator.") and name.endswith("num_batches_tracked"):
            assert value == STEPS, name

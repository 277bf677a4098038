"""One step of the engine: no host reads, non-finite gradients, compiled graphs, phases."""

from typing import Any

import pytest
import torch
from small_methods import ALL, SMALL_METHODS, full_method
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from gantrain.core.component import build
from gantrain.methods import METHODS
from gantrain.methods.base import Batch, Context, Method, Phase, Terms
from gantrain.recipe import schema
from gantrain.recipe.schema import Optimizer
from gantrain.training.ddp import DDPPhase
from gantrain.training.phase_runner import PhaseRunner
from gantrain.training.step import Engine

B = 4  # batch
METHOD = full_method("pix2pix")
# The slower part is for the longer runs.
QUICK = [
    n if n in ("pix2pix", "cyclegan") else pytest.param(n, marks=pytest.mark.slow) for n in ALL
]


def make(
    method: str | dict[str, Any] | Method,
    fake: bool = False,
    dtype: torch.dtype = torch.float32,
    **options: Any,
) -> tuple[Engine, Batch]:
    """Return an engine and a batch for the name of a small method, for options, or for a method."""
    torch.manual_seed(0)
    size = 32
    if isinstance(method, str):
        size = ALL[method].size
        method = full_method(method)
    if isinstance(method, dict):
        method = build(METHODS, method, source_channels=3, target_channels=3)
    if not fake:  # fake parameters can't be converted in place
        method = method.to(dtype).to(memory_format=torch.channels_last)
    settings = {phase.name: Optimizer(lr=1e-3, grad_clip_norm=1.0) for phase in method.phases}
    options = {"wrap": DDPPhase, "seed": 0, "ema_half_life": 100, **options}
    engine = Engine(method, torch.device("cpu"), settings, **options)
    batch = {k: torch.rand(B, 3, size, size, dtype=dtype) * 2 - 1 for k in ("source", "target")}
    return engine, batch


def step(engine: Engine, batch: Batch, number: int = 0) -> None:
    positions = tuple(range(number * B, (number + 1) * B))
    rates = {turn.phase.name: 1e-3 for turn in engine.phases}
    engine.step([batch], [Context(0, number * B, B, positions)], rates)


def trained(turn: PhaseRunner) -> list[nn.Parameter]:
    return [p for group in turn.optimizer.param_groups for p in group["params"]]


def weights(engine: Engine) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in engine.method.networks.state_dict().items()}


@pytest.mark.parametrize("options", QUICK)
def test_step_never_reads_the_device(options: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under fake tensors every read by the host raises; the last steps see the pools full."""
    # The average is a deep copy of the method; its fake tensors must stay in the same mode.
    monkeypatch.setattr(FakeTensorMode, "__deepcopy__", lambda self, memo: self, raising=False)

    def copied(self: Tensor, memo: Any) -> Tensor:
        copy = self.detach().clone()
        return nn.Parameter(copy) if isinstance(self, nn.Parameter) else copy

    monkeypatch.setattr(FakeTensor, "__deepcopy__", copied, raising=False)
    with FakeTensorMode():
        engine, batch = make(options, fake=True)
        histories = [pool.share(B) for pool in engine.method.pools.values()]
        for number in range(2 + max(histories, default=0)):
            step(engine, batch, number)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("name", ALL)
def test_step_never_waits_for_the_gpu(name: str) -> None:
    torch.manual_seed(0)
    method = build(METHODS, full_method(name), source_channels=3, target_channels=3).cuda()
    settings = {phase.name: Optimizer(grad_clip_norm=1.0) for phase in method.phases}
    options = {"wrap": DDPPhase, "seed": 0, "bf16": True, "ema_half_life": 100}
    engine = Engine(method, torch.device("cuda"), settings, **options)
    batch = {k: torch.rand(B, 3, 64, 64, device="cuda") for k in ("source", "target")}
    step(engine, batch, 0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(engine, batch, 1)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("options", QUICK)
def test_steps_in_bf16(options: str) -> None:
    """As in fp32 to bf16's eight bits: the same losses, and weights that stay float32."""
    found = []
    for bf16 in (False, True):
        engine, batch = make(options, bf16=bf16)
        step(engine, batch)
        assert {v.dtype for v in weights(engine).values() if v.is_floating_point()} == {
            torch.float32
        }
        assert engine.read_nonfinite() == (0, 0)
        found.append(engine.meters.means())
    for name, value in found[0].items():
        if not name.endswith("_gradient"):
            assert found[1][name] == pytest.approx(value, rel=0.1, abs=0.05), name


@pytest.mark.parametrize("options", ALL)
def test_every_parameter_learns_in_its_phase_and_in_no_other(options: str) -> None:
    engine, batch = make(options)
    context = Context(0, 0, B, tuple(range(B)))
    carried: list[Batch | None] = [None]
    for turn in engine.phases:
        others = [p for t in engine.phases if t is not turn for p in trained(t)]
        for p in others:
            p.grad = None
        engine.run_phase(
            turn, [batch], [context], carried=carried, kept_forward={}, learning_rate=1e-3
        )
        assert all(p.grad is not None and p.grad.isfinite().all() for p in trained(turn))
        assert all(p.grad is None for p in others)
    assert all(p.requires_grad for turn in engine.phases for p in trained(turn))


@pytest.mark.parametrize("options", [*SMALL_METHODS, "everything"])
def test_a_step_that_is_not_finite_changes_nothing(options: str) -> None:
    engine, batch = make(options)
    step(engine, batch, 0)
    before, averaged = weights(engine), engine.ema.method.networks.state_dict()
    averaged = {k: v.clone() for k, v in averaged.items()}
    pools = engine.method.pools
    stored = {
        (name, k): v.clone() for name, pool in pools.items() for k, v in pool.state_dict().items()
    }
    broken = {name: images * float("nan") for name, images in batch.items()}
    step(engine, broken, 1)
    after = weights(engine)
    for name, value in before.items():
        if "num_batches_tracked" not in name:
            assert torch.equal(value, after[name]), name
    for name, value in engine.ema.method.networks.state_dict().items():
        assert torch.equal(value, averaged[name]), name
    for (name, slot), images in stored.items():
        assert torch.equal(pools[name].state_dict()[slot], images)
    assert engine.nonfinite.item() == engine.worst.item() == 1
    step(engine, batch, 2)  # and the next one goes on, as if there had been none before
    assert engine.nonfinite.item() == 1
    assert engine.in_a_row.item() == 0
    assert all(v.isfinite().all() for v in weights(engine).values())
    assert any(not torch.equal(v, before[k]) for k, v in weights(engine).items())


def test_rates_by_name() -> None:
    method = build(METHODS, METHOD, source_channels=3, target_channels=3)
    factors = {"generator": 0.5, "generator.downs": 0.1, "generator.downs.0": 0.01}
    _, batch = make(method)
    settings = {p.name: Optimizer(lr=1e-3, lr_factors=factors) for p in method.phases}
    engine = Engine(method, torch.device("cpu"), settings, wrap=DDPPhase, seed=0)
    before = weights(engine)
    step(engine, batch)
    largest = {
        k: (v - before[k]).abs().max().item() for k, v in weights(engine).items() if v.ndim > 1
    }
    for name, moved in largest.items():  # Adam's first step is its rate, in each weight
        factor = next(
            (f for prefix, f in reversed(factors.items()) if name.startswith(prefix + ".")), 1.0
        )
        assert moved == pytest.approx(1e-3 * factor, rel=1e-2), name


def test_rates_by_name_from_the_command_line() -> None:
    factors = {"generator": 0.5, "generator.downs.0": 0.1, "discriminator.scales.0.last": 2.0}
    words = [f"optimizer.lr_factors.{name}={factor}" for name, factor in factors.items()]
    assert schema.load("quickstart", words).optimizer.lr_factors == factors


def test_optimizer_counts_only_the_steps_it_took() -> None:
    engine, batch = make(METHOD)
    step(engine, batch, 0)
    step(engine, {**batch, "source": batch["source"] * float("inf")}, 1)
    steps = [s["step"].item() for t in engine.phases for s in t.optimizer.state.values()]
    assert set(steps) == {1.0}


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        "pix2pix",
        *(pytest.param(n, marks=pytest.mark.exhaustive) for n in ALL if n != "pix2pix"),
    ],
)
def test_compiled_equals_eager(options: str) -> None:
    # In float32, Adam blows up the rounding noise of biases whose gradient is zero.
    eager, batch = make(options, dtype=torch.float64)
    torch._dynamo.reset()
    counters.clear()
    compiled, _ = make(options, dtype=torch.float64, compile=True)
    for number in range(2):
        step(eager, batch, number)
        step(compiled, batch, number)
    assert counters["stats"]["unique_graphs"] > 1
    for name, value in weights(compiled).items():
        assert torch.allclose(value, weights(eager)[name], rtol=0, atol=1e-9), name


def test_frozen_network_is_advanced_only_in_its_own_turn() -> None:
    """Spectral norm iterates once a step, however often the discriminator is called."""
    discriminator = {**METHOD["discriminator"], "spectral_norm": True}
    engine, batch = make(
        {**METHOD, "discriminator": discriminator, "losses": {"feature_matching": 1.0}}
    )
    layer = engine.phases[1].stepwise_modules[0]
    calls = []
    layer.advance = lambda: calls.append(1)
    step(engine, batch, 0)
    assert len(calls) == 1


def test_phases_that_share_a_network_are_refused() -> None:
    class Shared(Method):
        def __init__(self) -> None:
            super().__init__()
            self.networks = nn.ModuleDict({"generator": nn.Conv2d(3, 3, 1)})
            self.auxiliary, self.pools = nn.ModuleDict(), {}
            self.phases = (
                Phase("a", ("generator",), self.terms),
                Phase("b", ("generator",), self.terms),
            )

        def terms(self, batch: Batch, carried: Batch | None, context: Context) -> Terms:
            return Terms({"loss": self.translate(batch).mean()})

        def translate(self, batch: Batch) -> Tensor:
            return self.networks["generator"](batch["source"])

    with pytest.raises(ValueError, match="each network has one phase"):
        make(Shared())

"""Batch norm's running statistics move in a network's own turn only, in every order of the turns."""

from typing import Any

import pytest
import torch
from small_methods import full_method
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gantrain.core.component import build
from gantrain.methods import METHODS
from gantrain.methods.base import Context
from gantrain.recipe.schema import Optimizer
from gantrain.training.ddp import DDPPhase
from gantrain.training.step import Engine

B, STEPS = 4, 4
SMALL = full_method("pix2pix")
CUT = {**full_method("cut"), "augment": []}
SPADE = {**full_method("spade"), "augment": []}
JUDGE = {**SMALL["discriminator"], "norm": "batch"}
PIX2PIX = {
    "name": "pix2pix",
    "generator": {**SMALL["generator"], "norm": "batch"},
    "discriminator": JUDGE,
}
SYNCED = {
    "generator": {**SMALL["generator"], "norm": "sync_batch"},
    "discriminator": {**JUDGE, "norm": "sync_batch"},
}
BATCH_CUT = {
    **CUT,
    "generator": {**CUT["generator"], "norm": "batch"},
    "discriminator": {**JUDGE, "antialias": True},
}
BATCH_SPADE = {**SPADE, "generator": {**SPADE["generator"], "norm": "batch"}, "style": "vae"}
BATCH_SPADE["discriminator"] = {**SPADE["discriminator"], "norm": "batch"}
RESIDUAL = {"name": "resnet", "width": 4, "blocks": 1, "norm": "batch"}
MORE = [{"network": {**JUDGE, "width": 4}}]
# The method, its generator's interval, and the forwards of the generator's first batch norm in its
# own turn.
CASES: dict[str, tuple[dict[str, Any], int, int]] = {
    "pix2pix": (PIX2PIX, 1, 1),
    "pix2pix, discriminator first": ({**PIX2PIX, "order": "discriminator_first"}, 1, 1),
    "pix2pix, seldom": ({**PIX2PIX, "order": "discriminator_first"}, 2, 1),
    "pix2pix, synced": ({**PIX2PIX, **SYNCED, "order": "discriminator_first"}, 1, 1),
    "pix2pix, two discriminators": (
        {
            **PIX2PIX,
            "order": "discriminator_first",
            "more_discriminators": MORE,
            "losses": {"l1": 100.0, "feature_matching": 1.0},
        },
        1,
        1,
    ),
    "pix2pix, penalised": (
        {
            **PIX2PIX,
            "order": "discriminator_first",
            "penalties": [{"name": "r1", "interval_steps": 1}],
        },
        1,
        1,
    ),
    "cut": (BATCH_CUT, 1, 3),  # the images, and the features of what was made and of the originals
    "cut, discriminator first": ({**BATCH_CUT, "order": "discriminator_first"}, 1, 3),
    "spade": (BATCH_SPADE, 1, 1),
    "spade, new fakes": ({**BATCH_SPADE, "order": "generator_first_new_fakes"}, 1, 1),
    "spade, seldom": ({**BATCH_SPADE, "order": "generator_first_new_fakes"}, 2, 1),
    "pix2pixhd, seldom": (
        {
            "name": "pix2pixhd",
            "generator": RESIDUAL,
            "discriminator": JUDGE,
            "losses": {"perceptual": 0},
        },
        2,
        1,
    ),
    "cyclegan, seldom": ({"name": "cyclegan", "generator": RESIDUAL, "discriminator": JUDGE}, 2, 3),
}


class Watched:
    """An engine that notes every input of each batch norm together with the phase whose turn it is."""

    def __init__(self, options: dict[str, Any], every: int) -> None:
        torch.manual_seed(0)
        method = build(METHODS, options, source_channels=3, target_channels=3).double()
        self.phases = {name: phase.name for phase in method.phases for name in phase.networks}
        settings = {phase.name: Optimizer(lr=1e-3) for phase in method.phases}
        made = self.phases["generator"]
        settings[made] = Optimizer(lr=1e-3, interval_steps=every)
        self.engine = Engine(method, torch.device("cpu"), settings, wrap=DDPPhase, seed=0)
        self.turn = ""
        self.inputs: dict[str, list[tuple[str, Tensor]]] = {}
        self.norms: dict[str, _BatchNorm] = {}
        for name, module in method.networks.named_modules():
            if isinstance(module, _BatchNorm):
                self.norms[name] = module
                self.inputs[name] = []
                module.register_forward_pre_hook(self._note(name))
        for function in ("run_phase", "run_forward"):
            setattr(self.engine, function, self._with_turn(getattr(self.engine, function)))

    def _with_turn(self, function: Any) -> Any:
        def noted(runner: Any, *arguments: Any, **options: Any) -> Any:
            self.turn = runner.phase.name
            return function(runner, *arguments, **options)

        return noted

    def _note(self, name: str) -> Any:
        def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self.inputs[name].append((self.turn, inputs[0].detach().clone()))

        return note

    def step(self, number: int) -> None:
        torch.manual_seed(number)
        batch = {
            k: torch.rand(B, 3, 32, 32, dtype=torch.float64) * 2 - 1 for k in ("source", "target")
        }
        positions = tuple(range(number * B, (number + 1) * B))
        rates = {turn.phase.name: 1e-3 for turn in self.engine.phases}
        self.engine.step([batch], [Context(0, number * B, B, positions)], rates)

    def own_inputs(self, name: str) -> list[Tensor]:
        own = self.phases[name.split(".")[0]]
        return [x for turn, x in self.inputs[name] if turn == own]


@pytest.mark.parametrize("case", CASES)
def test_running_statistics_are_those_of_the_networks_own_turns(case: str) -> None:
    options, every, forwards = CASES[case]
    watched = Watched(options, every)
    assert {name.split(".")[0] for name in watched.norms} >= {"generator", "discriminator"}
    for number in range(STEPS):
        watched.step(number)
    for name, norm in watched.norms.items():
        mean, variance = (
            torch.zeros(norm.num_features).double(),
            torch.ones(norm.num_features).double(),
        )
        own = watched.own_inputs(name)
        for x in own:
            values = x.transpose(0, 1).flatten(1)
            mean = 0.9 * mean + 0.1 * values.mean(1)
            variance = 0.9 * variance + 0.1 * values.var(1, correction=1)
        assert norm.num_batches_tracked == len(own), name
        torch.testing.assert_close(norm.running_mean, mean, rtol=1e-9, atol=1e-12, msg=name)
        torch.testing.assert_close(norm.running_var, variance, rtol=1e-9, atol=1e-12, msg=name)
    first = next(name for name in watched.norms if name.startswith("generator."))
    assert len(watched.own_inputs(first)) == forwards * STEPS // every
    # One forward serves all turns, unless the generator has none or makes other fakes.
    made_again = options.get("order") == "generator_first_new_fakes" or every > 1
    assert (len(watched.inputs[first]) > forwards * STEPS // every) == made_again


def test_what_no_phase_trains_may_keep_a_state_of_its_own() -> None:
    """A helper such as a memory of features may change in any turn."""
    torch.manual_seed(0)
    method = build(METHODS, PIX2PIX, source_channels=3, target_channels=3)
    method.auxiliary["memory"] = nn.BatchNorm2d(3)
    terms = method.phases[0].terms

    def remembering(batch: Any, carried: Any, context: Context) -> Any:
        method.auxiliary["memory"](batch["source"])
        return terms(batch, carried, context)

    object.__setattr__(method.phases[0], "terms", remembering)
    settings = {phase.name: Optimizer() for phase in method.phases}
    engine = Engine(method, torch.device("cpu"), settings, wrap=DDPPhase, seed=0)
    batch = {k: torch.rand(B, 3, 32, 32) for k in ("source", "target")}
    rates = {turn.phase.name: 1e-3 for turn in engine.phases}
    engine.step([batch], [Context(0, 0, B, tuple(range(B)))], rates)
    assert method.auxiliary["memory"].num_batches_tracked == 1

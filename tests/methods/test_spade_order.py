"""The order of SPADE's turns: steps of the engine against a plain loop in float64."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantrain.core.component import build
from gantrain.core.rng import seed_all
from gantrain.methods import METHODS
from gantrain.methods.base import Context
from gantrain.recipe.schema import Optimizer
from gantrain.training.ddp import DDPPhase
from gantrain.training.step import Engine

B, STEPS, RATES = 2, 3, {"generator": 1e-3, "discriminator": 4e-3}
BETAS = (0.0, 0.9)
DISCRIMINATOR = {"name": "multiscale_patchgan", "width": 4, "layers": 2, "spectral_norm": True}


def made(order: str, norm: str, style: str) -> Any:
    torch.manual_seed(0)
    generator = {"name": "spade", "width": 2, "hidden": 4, "norm": norm}
    options = {
        "name": "spade",
        "generator": generator,
        "discriminator": DISCRIMINATOR,
        "losses": {"perceptual": 0},
    }
    options |= {"style": style, "order": order}
    return build(METHODS, options, source_channels=3, target_channels=3).double()


def batch(number: int) -> dict[str, Tensor]:
    torch.manual_seed(100 + number)
    ids = torch.randint(3, (B, 64, 64))
    labels = F.one_hot(ids, 3).permute(0, 3, 1, 2).double()
    return {"source": labels, "target": torch.rand(B, 3, 64, 64, dtype=torch.float64) * 2 - 1}


class Plain:
    """SPADE's step as its paper states it, written out. new: the fakes are made anew for the
    discriminator.
    """

    def __init__(self, networks: nn.ModuleDict, new: bool) -> None:
        self.networks, self.new = networks, new
        made_by = [networks[name] for name in ("generator", "encoder") if name in networks]
        weights = [p for network in made_by for p in network.parameters()]
        self.makers = made_by
        self.g = torch.optim.Adam(weights, lr=RATES["generator"], betas=BETAS)
        self.d = torch.optim.Adam(
            networks["discriminator"].parameters(), lr=RATES["discriminator"], betas=BETAS
        )

    def iterate(self, network: nn.Module) -> None:
        """One power iteration of each spectral norm."""
        for name, u in list(network.named_buffers()):
            if not name.endswith(".u"):
                continue
            layer = network.get_submodule(name.removesuffix(".u"))
            matrix = layer.weight.detach().flatten(1)
            v = matrix.T @ u
            v = v / v.norm()
            after = matrix @ v
            layer.v.copy_(v)
            u.copy_(after / after.norm())

    def fake(self, networks: nn.ModuleDict, data: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        if "encoder" not in networks:
            return networks["generator"](data["source"]), torch.zeros(())
        mean, log_variance = networks["encoder"](data["target"])
        z = mean + torch.randn_like(mean) * torch.exp(log_variance / 2)
        kld = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum() / B
        return networks["generator"](data["source"], z), kld

    def judge(self, data: dict[str, Tensor], image: Tensor) -> Any:
        return self.networks["discriminator"](torch.cat([data["source"], image], 1))

    def step(self, number: int) -> None:
        data = batch(number)
        for network in self.makers:
            self.iterate(network)
        seed_all(0, number * B, 0, 0)
        fake, kld = self.fake(self.networks, data)
        on_fake = self.judge(data, fake)
        with torch.no_grad():
            on_real = self.judge(data, data["target"])
        loss = 0.05 * kld
        for f, r in zip(on_fake, on_real, strict=True):
            loss = loss - f[-1].mean() / len(on_fake)
            for i in range(
                len(f) - 1
            ):  # gantrain's weight of the features: 4 over the number of maps
                loss = loss + 10 * 4 / (len(f) - 1) / len(on_fake) * (f[i] - r[i]).abs().mean()
        self.g.zero_grad()
        loss.backward()
        self.g.step()
        if self.new:
            seed_all(0, number * B, 0, 0)
            with torch.no_grad():
                fake, _ = self.fake(copy.deepcopy(self.networks), data)
        self.iterate(self.networks["discriminator"])
        on_fake, on_real = self.judge(data, fake.detach()), self.judge(data, data["target"])
        loss = torch.zeros(())
        for f, r in zip(on_fake, on_real, strict=True):
            loss = loss + (F.relu(1 - r[-1]).mean() + F.relu(1 + f[-1]).mean()) / len(on_fake)
        self.d.zero_grad()
        loss.backward()
        self.d.step()


def by_engine(method: Any) -> None:
    settings = {name: Optimizer(lr=rate, betas=BETAS) for name, rate in RATES.items()}
    engine = Engine(method, torch.device("cpu"), settings, wrap=DDPPhase, seed=0)
    for number in range(STEPS):
        positions = tuple(range(number * B, (number + 1) * B))
        engine.step([batch(number)], [Context(0, number * B, B, positions)], RATES)


@pytest.mark.parametrize("style", [pytest.param("none", marks=pytest.mark.slow), "vae"])
@pytest.mark.parametrize("norm", [pytest.param("instance", marks=pytest.mark.slow), "batch"])
@pytest.mark.parametrize("order", ["generator_first", "generator_first_new_fakes"])
def test_steps_are_those_of_the_plain_loop(order: str, norm: str, style: str) -> None:
    """All weights and buffers; among them the running statistics, which move once a step, and
    spectral norm's.
    """
    method, plain = made(order, norm, style), made(order, norm, style)
    by_engine(method)
    loop = Plain(plain.networks, new=order == "generator_first_new_fakes")
    for number in range(STEPS):
        loop.step(number)
    expected = plain.networks.state_dict()
    assert any(name.endswith(".u") for name in expected)
    for name, value in method.networks.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-9, msg=name)


@pytest.mark.slow
def test_the_orders_differ() -> None:
    first, second = (
        made("generator_first", "instance", "none"),
        made("generator_first_new_fakes", "instance", "none"),
    )
    by_engine(first)
    by_engine(second)
    weight = "discriminator.scales.0.0.0.weight"
    assert (
        first.networks.get_parameter(weight) - second.networks.get_parameter(weight)
    ).abs().max() > 1e-6

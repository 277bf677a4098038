"""CycleGAN: the paper's networks, its losses against formulas in numpy, the two histories."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from resolving import resolve
from torch import Tensor, nn

from gantrain.core.component import build
from gantrain.core.rng import Purpose
from gantrain.methods import METHODS
from gantrain.methods.base import Batch, Context, Method
from gantrain.methods.image_pool import ImagePool

B = 4
SMALL = {
    "name": "cyclegan",
    "generator": {"name": "resnet", "width": 4, "blocks": 1},
    "discriminator": {"name": "patchgan", "width": 4, "layers": 1, "norm": "instance"},
}
CONTEXT = Context(0, 0, B, tuple(range(B)))


def small(source_channels: int = 3, **options: Any) -> Method:
    torch.manual_seed(0)
    made: Method = build(
        METHODS, {**SMALL, **options}, source_channels=source_channels, target_channels=3
    )
    for p in made.parameters():
        nn.init.normal_(p, std=0.1)
    return made.double()


def batch(source_channels: int = 3) -> Batch:
    random = torch.Generator().manual_seed(1)
    shapes = {"source": (B, source_channels, 20, 24), "target": (B, 3, 20, 24)}
    return {
        n: torch.rand(s, generator=random, dtype=torch.float64) * 2 - 1 for n, s in shapes.items()
    }


def test_networks_are_the_papers() -> None:
    with torch.device("meta"):
        method = build(METHODS, resolve(METHODS, "cyclegan"), source_channels=3, target_channels=3)
        images = torch.zeros(1, 3, 256, 256)
        for name, network in method.networks.items():
            count = 11_378_179 if name.startswith("generator") else 2_764_737
            assert sum(p.numel() for p in network.parameters()) == count
        assert method.networks["generator_back"](images).shape == images.shape
        assert method.networks["discriminator_source"](images)[0][-1].shape == (1, 1, 30, 30)
    assert (method.cycle, method.identity, method.pools["fakes"].size) == (10, 5, 50)
    assert set(method.inference) == {"generator", "generator_back"}


def test_options_without_a_name_are_laid_on_the_default() -> None:
    wider = resolve(METHODS, {"name": "cyclegan", "discriminator": {"width": 8}})["discriminator"]
    assert (wider["name"], wider["norm"], wider["width"]) == ("patchgan", "instance", 8)
    assert (
        resolve(METHODS, {"name": "cyclegan", "discriminator": "patchgan"})["discriminator"]["norm"]
        == "batch"
    )


def numpy_of(method: Method, name: str) -> Any:
    """A network on arrays; of a discriminator its logits."""

    def run(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            made = method.networks[name](torch.from_numpy(x))
        return (made if isinstance(made, Tensor) else made[0][-1]).numpy()

    return run


def l1(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).mean())


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize(("channels", "identity"), [(3, 5.0), (3, 0.0), (2, 0.0)])
def test_losses_are_the_formulas(norm: str, channels: int, identity: float) -> None:
    """Batch norm in training too: the forward of several batches at once is not taken then."""
    generator = {**SMALL["generator"], "norm": norm}  # type: ignore[dict-item]
    method, seen = small(channels, generator=generator, identity=identity), batch(channels)
    x, y = (seen[name].numpy() for name in ("source", "target"))
    there, back, judge, judge_source = (
        numpy_of(method, n)
        for n in ("generator", "generator_back", "discriminator", "discriminator_source")
    )
    wanted = {
        "gan": ((judge(there(x)) - 1) ** 2).mean(),
        "gan_source": ((judge_source(back(y)) - 1) ** 2).mean(),
        "cycle": 10 * (l1(back(there(x)), x) + l1(there(back(y)), y)),
    }
    if identity:
        wanted["identity"] = 5 * (l1(there(y), y) + l1(back(x), x))
    terms = method.generators_terms(seen, None, CONTEXT)
    assert {n: v.item() for n, v in terms.losses.items()} == pytest.approx(wanted, abs=1e-6)
    assert torch.allclose(terms.carried["fake"], torch.from_numpy(there(x)), atol=1e-9)
    assert not any(v.requires_grad for v in terms.carried.values())
    expected = {
        "d": 0.5 * (((judge(y) - 1) ** 2).mean() + (judge(there(x)) ** 2).mean()),
        "d_source": 0.5
        * (((judge_source(x) - 1) ** 2).mean() + (judge_source(back(y)) ** 2).mean()),
    }
    for carried in (terms.carried, None):  # without the generators' turn it makes the same fakes
        terms = method.phases[1].terms(seen, carried, CONTEXT)
        assert {n: v.item() for n, v in terms.losses.items()} == pytest.approx(expected, abs=1e-6)
    assert terms.stats["d_on_real"].item() == pytest.approx((judge(y) > 0.5).mean())
    assert terms.stats["d_on_fake_source"].item() == pytest.approx(
        (judge_source(back(y)) <= 0.5).mean()
    )


def test_discriminators_do_not_reach_the_generators() -> None:
    method = small()
    sum(method.phases[1].terms(batch(), None, CONTEXT).losses.values()).backward()
    for name, network in method.networks.items():
        assert all(
            (p.grad is None) == name.startswith("generator") for p in network.parameters()
        ), name


def test_diagnosis_has_both_sides_and_the_cycle() -> None:
    method, seen = small(), batch()
    with torch.no_grad():
        written = method.translate(seen).mul(127.5).round() / 127.5
        found = method.diagnose(seen) | method.measure({**seen, "fake": written})
        cycled = method.networks["generator_back"](written)
    assert set(found) == {"d_on_held_out", "d_on_held_out_source", "cycle_error"}
    assert found["cycle_error"].item() == pytest.approx(
        l1(cycled.numpy(), seen["source"].numpy()), abs=1e-9
    )


@pytest.mark.parametrize("channels", [1, 10])
def test_identity_of_other_channels_is_refused(channels: int) -> None:
    with pytest.raises(
        ValueError, match=rf"^method\.identity: found 5\.0.* {channels} and.* 3 .*identity=0$"
    ):
        small(channels)
    assert (
        small(channels, identity=0.0).networks["generator_back"](batch()["target"]).shape[1]
        == channels
    )


def shown(pool: ImagePool) -> Iterator[int]:
    """Which fake is shown at each position; number k is a picture of k."""
    for step in range(100):
        positions = tuple(range(step * B, (step + 1) * B))
        fakes = torch.tensor(positions, dtype=torch.float32).view(B, 1, 1, 1)
        yield from map(int, pool(fakes, Context(0, step * B, B, positions)).flatten().tolist())


def test_each_history_makes_choices_of_its_own() -> None:
    pools = small().pools
    assert [pool.size for pool in pools.values()] == [50, 50]
    one, other = (np.array(list(shown(pool))) for pool in pools.values())
    later = np.arange(400)[50:]
    swapped, swapped_other = one[50:] != later, other[50:] != later
    assert 0.4 < swapped.mean() < 0.6
    assert 0.4 < (swapped == swapped_other).mean() < 0.6
    assert {pool.purpose for pool in pools.values()} == {Purpose.POOL, Purpose.POOL_BACK}

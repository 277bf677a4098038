"""CUT's terms against the paper's code as peers.md tells it, and its draws."""

import copy

import pytest
import torch
import torch.nn.functional as F

from gantrain.methods.base import Context
from gantrain.methods.cut import CUT

N, P = 4, 12
LAYERS = ("image", "down0", "block1")
SMALL = {
    "generator": {
        "name": "resnet",
        "width": 4,
        "blocks": 2,
        "antialias": True,
        "upsample": "bilinear",
    },
    "discriminator": {
        "name": "patchgan",
        "width": 4,
        "layers": 1,
        "norm": "instance",
        "antialias": True,
    },
    "layers": LAYERS,
    "patches": P,
}
FAST = {"nce": 10.0, "identity": False, "flip_equivariance": True}
CONTEXT = Context(3, 8, N, tuple(range(8, 8 + N)))


def make(**options) -> CUT:
    torch.manual_seed(0)
    return CUT(3, 3, **{**SMALL, **options}).double()


def batch(first: int = 0, last: int = N):
    generator = torch.Generator().manual_seed(1)
    source, target = torch.rand(2, N, 3, 16, 20, generator=generator, dtype=torch.float64) * 2 - 1
    return {"source": source[first:last], "target": target[first:last]}


def contrast(method, original, made, places, flips=None):
    """The loss as the paper's code has it: own key first, the diagonal of the others at -10."""
    generator, total = method.networks["generator"], 0.0
    features = generator.features(made, LAYERS)
    if flips is not None:
        features = [
            torch.stack([x.flip(-1) if f else x for x, f in zip(xs, flips, strict=True)])
            for xs in features
        ]
    queries = method.networks["projection"](features, places)
    keys = method.networks["projection"](generator.features(original, LAYERS), places)
    for q, k in zip(queries, keys, strict=True):
        own = (q * k).sum(2, keepdim=True)
        others = (q @ k.transpose(1, 2)).masked_fill(torch.eye(q.shape[1], dtype=torch.bool), -10)
        logits = torch.cat([own, others], 2).flatten(0, 1) / 0.07
        total += F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long)) / len(queries)
    return total


def test_terms_of_cut() -> None:
    method, data = make(nce=2.0), batch()
    generator, discriminator = method.networks["generator"], method.networks["discriminator"]
    terms = method.generator_terms(data, None, CONTEXT)
    fake, identity = generator(data["source"]), generator(data["target"])
    assert torch.equal(terms.carried["fake"], method.translate(data).detach())
    places = method.places(
        [f.repeat(2, 1, 1, 1) for f in generator.features(fake, LAYERS)], CONTEXT
    )
    assert [tuple(p.shape) for p in places] == [(2 * N, P)] * 3
    expected = {
        "gan": (discriminator(fake)[0][-1] - 1).square().mean(),
        "nce": contrast(method, data["source"], fake, [p[:N] for p in places]),
        "identity": contrast(method, data["target"], identity, [p[N:] for p in places]),
    }
    assert terms.losses.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(terms.losses[name], value, rtol=1e-9, atol=0)
    judged = method.phases[1].terms(data, terms.carried, CONTEXT)
    real, made = discriminator(data["target"])[0][-1], discriminator(fake)[0][-1]
    torch.testing.assert_close(
        judged.losses["d"], ((real - 1).square().mean() + made.square().mean()) / 2
    )


def test_terms_of_fastcut() -> None:
    method, data = make(**FAST), batch()
    generator = method.networks["generator"]
    flips = (
        (method.mirrored([data["source"]], CONTEXT)[0] != data["source"]).flatten(1).any(1).tolist()
    )
    assert 0 < sum(flips) < N
    shown = torch.stack(
        [x.flip(-1) if f else x for x, f in zip(data["source"], flips, strict=True)]
    )
    terms = method.generator_terms(data, None, CONTEXT)
    assert list(terms.losses) == ["gan", "nce"]
    made = generator(shown)
    places = method.places(generator.features(made, LAYERS), CONTEXT)
    expected = 10 * contrast(method, data["source"], made, places, flips)
    torch.testing.assert_close(terms.losses["nce"], expected, rtol=1e-9, atol=0)
    # The discriminator makes the same fakes where its turn is first.
    first, second = (
        method.phases[1].terms(data, c, CONTEXT).losses["d"] for c in (None, terms.carried)
    )
    assert torch.equal(first, second)


@pytest.mark.parametrize("options", [{}, FAST], ids=["cut", "fastcut"])
def test_micro_batches_change_nothing(options: dict) -> None:
    method = make(**options)
    whole = method.generator_terms(batch(), None, CONTEXT)
    halves = [
        method.generator_terms(
            batch(i, i + 2), None, Context(3, 8, N, CONTEXT.positions[i : i + 2])
        )
        for i in (0, 2)
    ]
    for name, loss in whole.losses.items():
        torch.testing.assert_close(
            sum(h.losses[name] for h in halves) / 2, loss, rtol=1e-12, atol=0
        )


def test_places_are_each_there_once_and_differ() -> None:
    method = make()
    maps = [torch.zeros(2 * N, 1, 4, 5), torch.zeros(2 * N, 1, 2, 3)]
    large, small = method.places(maps, CONTEXT)
    assert small.shape == (2 * N, 6)  # there are no more
    assert all(len(set(row.tolist())) == len(row) for row in [*large, *small])
    assert large.min() >= 0
    assert large.max() < 20
    assert len({tuple(row.tolist()) for row in large}) == 2 * N
    for again in (method.places(maps, CONTEXT), make().places(maps, CONTEXT)):
        assert torch.equal(large, again[0])


def test_half_of_the_samples_are_mirrored() -> None:
    method = make(**FAST)
    context = Context(0, 0, 400, tuple(range(400)))
    images = torch.arange(3.0).expand(400, 1, 2, 3)
    mirrored = method.mirrored([images], context)
    assert 150 < (mirrored[0] != images).flatten(1).any(1).sum() < 250
    assert torch.equal(method.mirrored(mirrored, context)[0], images)


def test_every_parameter_learns_under_autocast() -> None:
    """Copies of weights that autocast made without gradient would leave the projection as it is."""
    method = copy.deepcopy(make()).float()
    data = {k: v.float() for k, v in batch().items()}
    with torch.autocast("cpu", torch.bfloat16):
        terms = method.generator_terms(data, None, CONTEXT)
    sum(terms.losses.values()).backward()
    for name in ("generator", "projection"):
        for key, p in method.networks[name].named_parameters():
            assert p.grad is not None, (name, key)
            if key.endswith("weight"):
                assert p.grad.abs().sum() > 0, (name, key)


def test_mistakes_are_told_in_a_line() -> None:
    with pytest.raises(ValueError, match="found 10 channels of the source and 3 of the target"):
        CUT(10, 3, **SMALL)
    with pytest.raises(
        ValueError,
        match=r"method\.layers: found block2, allowed: image, down0, down1, block0, block1",
    ):
        make(layers=("image", "block2"))
    with pytest.raises(ValueError, match="none with this generator; choose"):
        make(generator={"name": "unet", "width": 4, "levels": 3})


def test_defaults_are_the_papers() -> None:
    with torch.device("meta"):
        method = CUT(3, 3)
    counts = {
        name: sum(p.numel() for p in network.parameters())
        for name, network in method.networks.items()
    }
    assert counts == {"generator": 11_378_179, "projection": 560_384, "discriminator": 2_764_737}
    assert {name: p.networks for name, p in zip("GD", method.phases, strict=True)} == {
        "G": ("generator", "projection"),
        "D": ("discriminator",),
    }

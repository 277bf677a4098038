"""Properties of every network in the table."""

import copy
import itertools
from typing import get_args

import pytest
import torch
from resolving import resolve
from small_networks import GENERATORS, deterministic, flat, images, small, takes
from torch import nn

from gantrain.core.component import build, facts_of
from gantrain.networks import DISCRIMINATOR, GENERATOR, NETWORKS, STYLED_GENERATOR
from gantrain.networks.backbone import Backbone
from gantrain.networks.blocks import Init, Norm, Upsample

# Their many layers take long.
LONG = dict.fromkeys(("spade", "pretrained_unet", "projected"), pytest.mark.exhaustive)


def test_table():
    assert {"unet", "resnet", "encoder_decoder", "patchgan", "pixel"} <= set(NETWORKS)
    for cls in NETWORKS.values():
        assert not issubclass(cls, nn.Sequential)  # net.compile() would do nothing
        assert tuple(facts_of(cls)) in DISCRIMINATOR + GENERATOR + STYLED_GENERATOR


@pytest.mark.parametrize("name", NETWORKS)
def test_recipe_builds(name):
    config = resolve(NETWORKS, name)
    with torch.device("meta"):
        network = build(NETWORKS, config, in_channels=5, out_channels=4, image_channels=3)
    assert next(network.parameters()).shape[1] == (
        3 if name == "projected" else 5
    )  # it sees the image alone


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_has_a_gradient(name):
    network = small(name)
    x = images(64, 64).requires_grad_()
    sum(t.square().mean() for t in flat(network(x))).backward()
    for key, p in [*network.named_parameters(), ("images", x)]:
        if p.requires_grad:
            assert p.grad is not None, key
            assert p.grad.isfinite().all(), key
    weights = [p for p in network.parameters() if p.dim() > 1 and p.requires_grad]
    assert all(p.grad.abs().sum() > 0 for p in weights)


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_autocast(name):
    network = deterministic(name)
    reference = flat(network(images()))
    with torch.autocast("cpu", torch.bfloat16):
        outputs = flat(network(images()))
    sum(t.float().square().mean() for t in outputs).backward()
    assert all(p.grad.dtype == torch.float32 for p in network.parameters() if p.requires_grad)
    for out, ref in zip(outputs, reference, strict=True):
        assert (out - ref).norm() < 0.1 * ref.norm()


@pytest.mark.parametrize("name", NETWORKS)
def test_float64(name):
    double = deterministic(name).double()
    single = copy.deepcopy(double).float()
    for a, b in zip(flat(double(images(dtype=torch.float64))), flat(single(images())), strict=True):
        assert a.dtype == torch.float64
        torch.testing.assert_close(a, b.double(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_channels_last(name):
    network = deterministic(name).double()
    other = copy.deepcopy(network).to(memory_format=torch.channels_last)
    x = images(dtype=torch.float64)
    outputs = flat(other(x.contiguous(memory_format=torch.channels_last)))
    for a, b in zip(flat(network(x)), outputs, strict=True):
        torch.testing.assert_close(a, b)


COMPILED = ("unet", "resnet", "coarse_to_fine", "patchgan")  # in the shorter runs


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in COMPILED else pytest.mark.exhaustive) for n in NETWORKS],
)
def test_in_place_compile_equals_eager(name):
    torch._dynamo.reset()
    eager = deterministic(name).double()
    compiled = copy.deepcopy(eager)
    compiled.compile(backend="aot_eager")
    assert list(compiled.state_dict()) == list(eager.state_dict())
    torch._dynamo.utils.counters.clear()
    for size in [(48, 32), (33, 47)]:
        results = []
        for network in (eager, compiled):
            x = images(*size, dtype=torch.float64).requires_grad_()
            outputs = flat(network(x))
            network.zero_grad()
            sum(t.square().mean() for t in outputs).backward()
            results.append([*outputs, x.grad, *(p.grad for p in network.parameters())])
        for a, b in zip(*results, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
    stats = torch._dynamo.utils.counters
    assert stats["stats"]["unique_graphs"] > 0
    assert not stats["graph_break"]


CHOICES = [
    {"norm": norm, "upsample": upsample, "init": init, "spectral_norm": spectral}
    for norm in get_args(Norm)
    for upsample in get_args(Upsample)
    for init, spectral in zip(get_args(Init), itertools.cycle([False, True]), strict=False)
]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=LONG.get(n, ())) for n in NETWORKS if takes(n, "norm")]
)
def test_options(name):
    sizes = set()
    for options in dict.fromkeys(
        tuple((k, v) for k, v in c.items() if takes(name, k)) for c in CHOICES
    ):
        options = dict(options)
        network = small(name, **options)
        outputs = flat(network(images(33, 40)))
        assert all(t.isfinite().all() for t in outputs), options
        sum(t.mean() for t in outputs).backward()
        sizes.add(sum(t.numel() for t in network.state_dict().values()))
    assert len(sizes) > 1  # the options did something


TYPOS = [
    (n, option) for n in NETWORKS for option in ("norm", "init", "upsample") if takes(n, option)
]


@pytest.mark.parametrize(("name", "option"), TYPOS)
def test_unknown_choice(name, option):
    with pytest.raises(ValueError, match=f"{option}: found 'typo', allowed are .*, "):
        small(name, **{option: "typo"})


@pytest.mark.parametrize("name", [n for n in GENERATORS if takes(n, "dropout")])
def test_dropout(name):
    options = {"levels": 6} if name == "unet" else {}
    network = small(name, dropout=0.5, **options)
    x = images()
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


@pytest.mark.parametrize("name", [n for n in NETWORKS if takes(n, "init")])
def test_initial_weights(name):
    for init, std in [("normal", 0.02), ("xavier", None), ("default", None)]:
        width = {"width": 16} if name in ("coarse_to_fine", "spade") else {}  # large with their own
        network = NETWORKS[name](
            *([3] * len(facts_of(NETWORKS[name]))), norm="batch", init=init, **width
        )
        theirs = {m for b in network.modules() if isinstance(b, Backbone) for m in b.modules()}
        own = [m for m in network.modules() if m not in theirs]
        convs = [m for m in own if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
        norms = [m for m in own if isinstance(m, nn.BatchNorm2d) and m.affine]
        if std is not None:
            weights = torch.cat([m.weight.flatten() for m in convs])
            assert weights.std().item() == pytest.approx(std, rel=0.05)
            scales = torch.cat([torch.zeros(0), *(m.weight for m in norms)])
            assert (len(scales) == 0) == (name == "spade")  # whose norms have no weights
            assert name == "spade" or scales.mean().item() == pytest.approx(1, abs=0.01)
            assert name == "spade" or scales.std().item() == pytest.approx(0.02, rel=0.3)
        keeps = init == "default" or name in ("multiscale_patchgan", "coarse_to_fine")
        biases = [m.bias for m in convs if m.bias is not None]
        assert all((b.abs().sum() > 0) == keeps for b in biases)
        if name in ("multiscale_patchgan", "coarse_to_fine"):
            break  # their biases are PyTorch's with every choice

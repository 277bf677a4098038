"""SPADE and pix2pixHD: their terms written out, and through the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gantrain import load, train
from gantrain.cli.train_command import train_main
from gantrain.core.component import build
from gantrain.methods import METHODS
from gantrain.methods.adversarial_game import pair
from gantrain.methods.base import Context
from gantrain.networks.spectral import Spectral
from gantrain.recipe.schema import load as load_recipe

CONTEXT = Context(0, 0, 2, (0, 1))
DISCRIMINATOR = {"name": "multiscale_patchgan", "width": 4, "spectral_norm": True}
GENERATORS = {
    "pix2pixhd": {"name": "coarse_to_fine", "width": 4, "downsampling": 2, "blocks": 1},
    "spade": {"name": "spade", "width": 2, "hidden": 4, "norm": "instance"},
}


@pytest.fixture
def weights(tmp_path):
    """A narrow VGG-19 in torchvision's form."""
    torch.manual_seed(0)
    places, widths = (
        (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28),
        (3, 4, 4, 8, 8, *[8] * 4, *[8] * 5),
    )
    state = {}
    for i, place in enumerate(places):
        conv = nn.Conv2d(widths[i], widths[i + 1], 3)
        state |= {
            f"features.{place}.weight": conv.weight.detach(),
            f"features.{place}.bias": conv.bias.detach(),
        }
    torch.save(state, tmp_path / "vgg.pth")
    return str(tmp_path / "vgg.pth")


def made(name, weights=None, dtype=torch.float64, **options):
    torch.manual_seed(0)
    config = {
        "name": name,
        "generator": GENERATORS[name],
        "discriminator": DISCRIMINATOR,
        **options,
    }
    perceptual = {"network": {"name": "vgg19", "weights": weights}} if weights else 0
    config["losses"] = {"perceptual": perceptual}
    method = build(METHODS, config, source_channels=3, target_channels=3)
    for helper in method.auxiliary.values():
        helper.load()
    return method.to(dtype)


def batch(dtype=torch.float64):
    torch.manual_seed(1)
    ids = torch.randint(3, (2, 64, 64))
    labels = nn.functional.one_hot(ids, 3).permute(0, 3, 1, 2).to(dtype)
    return {"source": labels, "target": torch.rand(2, 3, 64, 64, dtype=dtype) * 2 - 1}


def judged(method, image, data):
    """Each scale's maps, as numpy; by a forward of its own."""
    with torch.no_grad():
        outputs = method.networks["discriminator"](pair(data["source"], image))
    return [[feature.numpy() for feature in scale] for scale in outputs]


@pytest.mark.parametrize("style", ["none", "vae"])
def test_spade_minimises_what_the_paper_says(style, weights):
    method, data = made("spade", weights, style=style), batch()
    torch.manual_seed(2)
    terms = method.generator_terms(data, None, CONTEXT)
    fake, losses = terms.carried["fake"], {k: v.item() for k, v in terms.losses.items()}
    on_fake, on_real = judged(method, fake, data), judged(method, data["target"], data)
    assert losses["gan"] == pytest.approx(
        np.mean([-scale[-1].mean() for scale in on_fake]), rel=1e-6
    )
    expected = 0.0
    for r, f in zip(on_real, on_fake, strict=True):
        for i in range(4):  # maps before the logits
            expected += 10 / len(on_real) * np.abs(r[i] - f[i]).mean()
    assert losses["feature_matching"] == pytest.approx(expected, rel=1e-6)
    assert losses["perceptual"] == pytest.approx(
        10 * method.auxiliary["perceptual"](fake, data["target"]).item(), rel=1e-6
    )
    assert ("kld" in losses) == (style == "vae")
    if style == "vae":
        with torch.no_grad():
            mean, log_variance = (x.numpy() for x in method.networks["encoder"](data["target"]))
        kld = -0.5 * (1 + log_variance - mean**2 - np.exp(log_variance)).sum() / 2  # of two samples
        assert losses["kld"] == pytest.approx(0.05 * kld, rel=1e-6)
        torch.manual_seed(2)
        style = mean + torch.randn(2, 256, dtype=torch.float64).numpy() * np.exp(log_variance / 2)
        expected = method.networks["generator"](data["source"], torch.tensor(style))
        torch.testing.assert_close(fake, expected.detach())
    d = method.phases[1].terms(data, terms.carried, CONTEXT).losses["d"].item()  # not halved
    logits = [(r[-1], f[-1]) for r, f in zip(on_real, on_fake, strict=True)]
    hinges = [np.maximum(0, 1 - r).mean() + np.maximum(0, 1 + f).mean() for r, f in logits]
    assert d == pytest.approx(np.mean(hinges), rel=1e-6)


def test_pix2pixhd_minimises_what_the_paper_says(weights):
    method, data = made("pix2pixhd", weights), batch()
    terms = method.generator_terms(data, None, CONTEXT)
    fake, losses = terms.carried["fake"], {k: v.item() for k, v in terms.losses.items()}
    on_fake, on_real = judged(method, fake, data), judged(method, data["target"], data)
    assert losses["gan"] == pytest.approx(
        sum(((scale[-1] - 1) ** 2).mean() for scale in on_fake), rel=1e-6
    )
    expected = 0.0
    for r, f in zip(on_real, on_fake, strict=True):
        for i in range(4):  # of three layers, and the first
            expected += 4 / (3 + 1) / 2 * 10 * np.abs(r[i] - f[i]).mean()
    assert losses["feature_matching"] == pytest.approx(expected, rel=1e-6)
    assert losses["perceptual"] == pytest.approx(
        10 * method.auxiliary["perceptual"](fake, data["target"]).item(), rel=1e-6
    )
    d = method.phases[1].terms(data, terms.carried, CONTEXT).losses["d"].item()
    squares = [
        ((r[-1] - 1) ** 2).mean() + (f[-1] ** 2).mean()
        for r, f in zip(on_real, on_fake, strict=True)
    ]
    assert d == pytest.approx(0.5 * sum(squares), rel=1e-6)


@pytest.mark.parametrize("style", ["none", "vae"])
def test_a_fake_made_again_is_the_same(style):
    """Where the generator has no turn, the discriminator makes its fakes itself."""
    method, data = made("spade", style=style), batch()
    torch.manual_seed(2)
    carried = method.generator_terms(data, None, CONTEXT).carried
    expected = method.phases[1].terms(data, carried, CONTEXT).losses["d"]
    torch.manual_seed(2)
    torch.testing.assert_close(method.phases[1].terms(data, None, CONTEXT).losses["d"], expected)


def test_styles_at_test_do_not_depend_on_chance_or_batch():
    data = batch()
    with torch.no_grad():
        mean, drawn, other = (made("spade", style="vae", test_style=seed) for seed in (None, 3, 4))
        generator = mean.networks["generator"]
        assert torch.equal(
            mean.translate(data),
            generator(data["source"], torch.zeros(2, 256, dtype=torch.float64)),
        )
        fakes = drawn.translate(data)
        alone = drawn.translate({"source": data["source"][1:]})
    torch.testing.assert_close(fakes[1:], alone)
    assert not torch.allclose(fakes, other.translate(data))
    assert not torch.allclose(fakes, mean.translate(data))


def test_spectral_norm_is_where_the_paper_has_it():
    networks = made("spade", style="vae").networks
    spectral = {name for name, m in networks.named_modules() if isinstance(m, Spectral)}
    convs = {name for name, m in networks.named_modules() if isinstance(m, nn.Conv2d)}
    plain = {
        name
        for name in convs - spectral
        if not any(part in name for part in ("shared", "scale.", "shift"))
    }
    plain = {name for name in plain if not name.endswith((".scale", ".shift"))}
    ends = {f"discriminator.scales.{i}.{layer}.0" for i in (0, 1) for layer in (0, 4)}
    assert plain == {"generator.last", *ends}
    assert sum(name.startswith("encoder") for name in spectral) == 6


def test_no_weights_are_read_where_the_term_is_off_or_nothing_is_trained():
    assert "perceptual" not in made("spade").auxiliary
    method = build(
        METHODS,
        {"name": "spade", "generator": GENERATORS["spade"]},
        source_channels=3,
        target_channels=3,
    )
    assert not list(method.auxiliary.parameters())


SMALL = {
    "cityscapes_spade": (
        "method.generator={width: 2, hidden: 4, upsampling: normal}",
        "method.style=vae",
    ),
    "camvid_spade": ("method.generator={width: 2, hidden: 4}",),
    "ade20k_spade": ("method.generator={width: 2, hidden: 4}",),
    "coco_spade": ("method.generator={width: 2, hidden: 4}",),
    "cityscapes_pix2pixhd": ("method.generator={name: coarse_to_fine, width: 4, blocks: 1}",),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param(r, marks=pytest.mark.exhaustive)
        if r in ("cityscapes_spade", "coco_spade")
        else r
        for r in SMALL
    ],
)
def test_recipe_trains_on_drawn_data(recipe, weights):
    sizes = (
        "data.size=[32,64]",
        "data.resize=[32,64]",
        "method.discriminator={name: multiscale_patchgan, width: 4}",
    )
    quick = (
        "data=synthetic",
        "data.workers=0",
        "batch_size=2",
        "length=4",
        "evaluate.max_samples=2",
        "trackers=[]",
    )
    vgg = ("method.losses.perceptual=10", f"method.losses.perceptual.network.weights={weights}")
    assert (
        train(
            recipe, *quick, *sizes, *SMALL[recipe], *vgg, "precision=fp32", "log_every=4", "run=x"
        ).state
        == "finished"
    )
    rows = [json.loads(line) for line in Path("runs/x/metrics.jsonl").read_text().splitlines()]
    assert any(np.isfinite(row.get("perceptual", np.nan)) for row in rows)
    Path(weights).unlink()  # what is trained needs it no more
    model = load("runs/x")
    labels = np.random.default_rng(0).integers(model.source.classes, size=(50, 70), dtype=np.uint8)
    assert model.translate(labels, **dict.fromkeys(model.reader.inputs, labels)).shape == (
        50,
        70,
        3,
    )


@pytest.mark.slow
def test_pix2pixhds_local_enhancer_in_the_papers_stages(weights, capsys):
    """cityscapes_pix2pixhd_1024p, small."""
    small = (
        "method.generator.width=4",
        "method.generator.blocks=1",
        "method.discriminator.width=4",
    )
    small += (
        "method.discriminator.layers=1",
        f"method.losses.perceptual.network.weights={weights}",
        "data.size=[32,64]",
        "data.resize=null",
    )
    quick = (
        "data=synthetic",
        "data.workers=0",
        "batch_size=2",
        "evaluate.max_samples=1",
        "trackers=[]",
    )
    stages = load_recipe("cityscapes_pix2pixhd_1024p").stages
    assert [stage["length"] for stage in stages] == ["200 epochs", "10 epochs", "90 epochs"]
    short = [
        {**stage, "length": 2} | ({"data": {"size": [16, 32]}} if "data" in stage else {})
        for stage in stages
    ]
    words = (*small, *quick, "precision=fp32", f"stages={json.dumps(short)}")
    train("cityscapes_pix2pixhd_1024p", *words)
    first, second, third = capsys.readouterr().out.split("parameters: ")[1:]
    assert "frozen" not in first
    assert (
        "generator: 23 of 42 tensors from runs/cityscapes_pix2pixhd_1024p/checkpoints/000000002; not there"
        in second
    )
    assert "frozen" in second
    assert "generator: 42 of 42 tensors" in third
    assert "frozen" not in third
    ids = np.zeros((50, 70), np.uint8)
    assert load("runs/cityscapes_pix2pixhd_1024p").translate(ids, instances=ids).shape == (
        50,
        70,
        3,
    )


def test_missing_weights_are_a_line_before_training(capsys):
    words = (
        "recipe=camvid_spade",
        "data=synthetic",
        "data.size=[32,64]",
        "data.resize=null",
        "method.losses.perceptual=1",
    )
    assert train_main([*words, "method.losses.perceptual.network.weights=none.pth"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "method.losses.perceptual.network.weights: none.pth does not exist" in line
    assert not Path("runs").exists()

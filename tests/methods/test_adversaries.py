"""Several discriminators, in every method that has one: terms, phases, intervals."""

import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gantrain.cli.train_command import train_main
from gantrain.core.component import build
from gantrain.losses import ADVERSARIAL
from gantrain.methods import METHODS
from gantrain.methods.base import Context

CONTEXT = Context(0, 0, 2, (0, 1))
RESNET = {"name": "resnet", "width": 4, "blocks": 1}
SMALL = {
    "pix2pix": {"generator": {"name": "unet", "width": 4, "levels": 4}},
    "pix2pixhd": {
        "generator": RESNET,
        "discriminator": {"name": "multiscale_patchgan", "width": 4},
        "losses": {"perceptual": 0},
    },
    "spade": {"generator": {"name": "spade", "width": 2, "hidden": 4}, "losses": {"perceptual": 0}},
    "cyclegan": {"generator": RESNET},
    "cut": {"generator": RESNET, "layers": ("image", "down0")},
}
MATCHED = {"losses": {"feature_matching": 1.0}}
MORE = [
    {
        "network": {"name": "pixel", "width": 4, "norm": "none"},
        "adversarial": "lsgan",
        "weight": 0.25,
    },
    {
        "network": {"name": "patchgan", "width": 4, "layers": 1, "norm": "instance"},
        "adversarial": "vanilla",
    },
]


def test_all_methods_but_the_survey_may_have_several():
    several = {
        n
        for n, cls in METHODS.items()
        if "more_discriminators" in inspect.signature(cls).parameters
    }
    assert several == set(SMALL) == set(METHODS) - {"survey"}


@pytest.mark.parametrize("name", SMALL)
def test_terms_are_those_of_each_discriminator(name):
    torch.manual_seed(0)
    options = {"name": name, **SMALL[name], "more_discriminators": MORE}
    method = build(METHODS, options, source_channels=3, target_channels=3).double()
    data = {k: torch.rand(2, 3, 32, 32, dtype=torch.float64) * 2 - 1 for k in ("source", "target")}
    makes, *judges = method.phases
    sides = ("", "_source") if name == "cyclegan" else ("",)
    assert [set(phase.networks) for phase in judges] == [
        {f"discriminator{side}{end}" for side in sides} for end in ("", "_1", "_2")
    ]
    terms = makes.terms(data, None, CONTEXT)
    found = [phase.terms(data, terms.carried, CONTEXT) for phase in judges]
    for number, more in enumerate(MORE, 1):
        loss = ADVERSARIAL[more["adversarial"]]()
        for side in sides:
            network = method.networks[f"discriminator{side}_{number}"]
            real, fake = data["source" if side else "target"], terms.carried[f"fake{side}"]
            if method.paired:  # they see the source as well
                real, fake = (torch.cat([data["source"], x], 1) for x in (real, fake))
            with torch.no_grad():
                on_real, on_fake = (network(x)[0][-1] for x in (real, fake))
            own = loss.discriminator(on_real, on_fake) * (1 if name == "spade" else 0.5)
            torch.testing.assert_close(found[number].losses[f"d{side}_{number}"].detach(), own)
            fooled = more.get("weight", 1.0) * loss.generator(on_fake)
            torch.testing.assert_close(terms.losses[f"gan{side}_{number}"].detach(), fooled)
    assert {f"d_on_held_out{side}{end}" for side in sides for end in ("", "_1", "_2")} == set(
        method.diagnose(data)
    )


@pytest.mark.slow
def test_each_has_its_interval_and_its_rate(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANTRAIN_CACHE", str(tmp_path / "cache"))
    network = "{name: projected, backbone: test_resnet, pretrained: false, width: 4, size: 128}"
    command = [
        "recipe=quickstart", "run=several", "length=32", "batch_size=8", "log_every=8", "evaluate.metrics=[l1]",
        f"method.more_discriminators=[{{network: {network}, weight: 0.1}}]", "schedule.name=constant",
        "phases.discriminator_1.interval_steps=2", "phases.discriminator_1.lr=1e-5", "trackers=[]", "data.workers=0",
    ]  # fmt: skip
    assert train_main(command) == 0
    rows = [
        json.loads(line) for line in Path("runs/several/metrics.jsonl").read_text().splitlines()
    ]
    logged = [row for row in rows if "gan" in row]
    assert len(logged) == 4
    assert ["d_1" in row for row in logged] == [True, False, True, False]
    assert all("gan_1" in row and "d" in row for row in logged)
    assert {row["lr_discriminator_1"] for row in logged} == {1e-5}


def forwards(network):
    """Count the forwards of a network."""
    counts = []
    network.register_forward_pre_hook(lambda *unused: counts.append(torch.is_grad_enabled()))
    return counts


@pytest.mark.parametrize("adversarial", ADVERSARIAL)
def test_only_relative_losses_see_real_images_in_the_generators_turn(adversarial):
    """One forward more, without gradient; a feature matching term takes the same one."""
    torch.manual_seed(0)
    options = {"name": "pix2pix", **SMALL["pix2pix"], "adversarial": adversarial}
    is_relative = ADVERSARIAL[adversarial]().is_relative
    data = {k: torch.rand(2, 3, 32, 32) * 2 - 1 for k in ("source", "target")}
    for more, real_forwards in (({}, int(is_relative)), (MATCHED, 1)):
        method = build(METHODS, {**options, **more}, source_channels=3, target_channels=3)
        counts = forwards(method.networks["discriminator"])
        method.phases[0].terms(data, None, CONTEXT)
        assert counts == [True] + [False] * real_forwards


@pytest.mark.parametrize("name", SMALL)
def test_every_method_takes_a_relative_loss(name):
    """The generator's term, and the fractions of logits above the mean of the other kind."""
    torch.manual_seed(0)
    options = {"name": name, **SMALL[name], "adversarial": "relativistic"}
    method = build(METHODS, options, source_channels=3, target_channels=3).double()
    data = {k: torch.rand(2, 3, 32, 32, dtype=torch.float64) * 2 - 1 for k in ("source", "target")}
    made = method.phases[0].terms(data, None, CONTEXT)
    judged = method.phases[1].terms(data, made.carried, CONTEXT)
    for side in ("", "_source") if name == "cyclegan" else ("",):
        real, fake = data["source" if side else "target"], made.carried[f"fake{side}"]
        if method.paired:
            real, fake = (torch.cat([data["source"], x], 1) for x in (real, fake))
        with torch.no_grad():
            outputs = [method.networks[f"discriminator{side}"](x) for x in (real, fake)]
        pairs = [(r[-1], f[-1]) for r, f in zip(*outputs, strict=True)]
        fooled = torch.stack([torch.log1p(torch.exp(r - f)).mean() for r, f in pairs])
        expected = fooled.sum() if name == "pix2pixhd" else fooled.mean()
        torch.testing.assert_close(made.losses[f"gan{side}"].detach(), expected)
        above = np.mean([(r > f.mean()).double().mean() for r, f in pairs])
        assert judged.stats[f"d_on_real{side}"].item() == pytest.approx(above)
        below = np.mean([(f <= r.mean()).double().mean() for r, f in pairs])
        assert judged.stats[f"d_on_fake{side}"].item() == pytest.approx(below)
    assert method.diagnose(data) == {}


@pytest.mark.parametrize("name", ["pix2pix", "pix2pixhd", "spade"])
def test_penalties_are_terms_of_the_first_discriminator(name):
    torch.manual_seed(0)
    options = {"name": name, **SMALL[name], "more_discriminators": MORE}
    listed = [{"name": "r1", "interval_steps": 2}, {"name": "r2", "interval_steps": 3}]
    data = {k: torch.rand(2, 3, 32, 32, dtype=torch.float64) * 2 - 1 for k in ("source", "target")}
    due = {0: {"r1", "r2"}, 1: set(), 2: {"r1"}, 3: {"r2"}}
    for penalties in (listed[:1], listed):
        config = {**options, "penalties": penalties}
        method = build(METHODS, config, source_channels=3, target_channels=3).double()
        several = len(penalties) > 1
        for turn, names in due.items():
            context = Context(0, 2 * turn, 2, (0, 1))
            fake = method.translate(data).detach()
            for number, phase in enumerate(method.phases[1:]):
                losses = phase.terms(data, {"fake": fake}, context).losses
                terms = {loss for loss in losses if loss.startswith("penalty")}
                expected = (
                    {f"penalty_{x}" for x in names}
                    if several
                    else {"penalty"} & {"penalty" for x in names if x == "r1"}
                )
                assert terms == (expected if number == 0 else set())
        assert [k for k in method.loss_weights if k.startswith("penalty")] == (
            ["penalty_r1", "penalty_r2"] if several else ["penalty"]
        )
    with pytest.raises(ValueError, match="penalties: found r1 2 times, allowed: each penalty once"):
        build(METHODS, {**options, "penalties": ["r1", "r1"]}, source_channels=3, target_channels=3)

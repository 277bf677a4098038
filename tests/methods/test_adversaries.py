"""Several discriminators, in every method that has one: terms, phases, intervals."""

import inspect
import json
from pathlib import Path

import pytest
import torch

from gantrain.cli.app import train_main
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
        "perceptual": 0,
    },
    "spade": {"generator": {"name": "spade", "width": 2, "hidden": 4}, "perceptual": 0},
    "cyclegan": {"generator": RESNET},
    "cut": {"generator": RESNET, "layers": ("image", "down0")},
}
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

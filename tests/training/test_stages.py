"""A run in stages: one command, one folder, networks handed on by name."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from comparing import assert_identical, tensors

from gantrain import load, train
from gantrain.methods.base import Context
from gantrain.recipe.schema import load as load_recipe
from gantrain.recipe.schema import stages

FIRST = (
    "{length: 24, method: {generator: {enhancer: false}}, data: {size: [16, 16], resize: [16, 16]}}"
)
SECOND = "{length: 16, freeze: [generator.coarse], schedule: {name: constant}, batch_size: 4}"
THIRD = "{length: 16, method: {losses: {l1: 10.0}}}"
RUN = (
    "quickstart", "data=synthetic", "data.size=[32,32]", "data.resize=[32,32]", "data.workers=0", "precision=fp64",
    "method.generator={name: coarse_to_fine, width: 4, downsampling: 2, blocks: 1, enhancer: true, fine_blocks: 1}",
    "method.discriminator={name: patchgan, width: 4, layers: 1, norm: instance}", "method.pool=4", "batch_size=8",
    "method.losses.l1=100.0", "schedule.name=linear", "schedule.decay_fraction=1.0", "trackers=[]", "log_every=8",
    "evaluate.max_samples=2", "evaluate.metrics=[l1]", "checkpoint.every=8", "checkpoint.keep=20",
    f"stages=[{FIRST}, {SECOND}, {THIRD}]",
)  # fmt: skip


def run_here(name: str) -> list[dict[str, Any]]:
    assert train(*RUN, f"run={name}").state == "finished"
    return [
        json.loads(line) for line in Path(f"runs/{name}/metrics.jsonl").read_text().splitlines()
    ]


@pytest.mark.slow
def test_networks_go_from_stage_to_stage(capsys: pytest.CaptureFixture[str]) -> None:
    rows = run_here("x")
    said = capsys.readouterr().out
    for text in (
        "starting a new run, stage 1 of 3",
        "resuming at image 24, stage 2 of 3",
        "image 40, stage 3 of 3",
    ):
        assert text in said
    handed = {row["images_seen"]: row["init_from"] for row in rows if "init_from" in row}
    assert set(handed) == {24, 40}
    assert handed[24][0].startswith("generator: 15 of 26 ")  # the coarse layers
    assert "; not there" not in handed[40][0]
    rates = {row["images_seen"]: row["lr"] for row in rows if "lr" in row}
    assert (
        rates[32] == rates[40] == rates[48] == max(rates.values())
    )  # each stage has a schedule of its own
    assert rates[56] < rates[48]
    at = {images: tensors("x", images) for images in (24, 32, 40, 56)}
    still = [key for key in at[40] if key.startswith("networks/generator/coarse")]
    assert still
    assert all(torch.equal(at[32][key], at[40][key]) for key in still)
    assert not any("generator.coarse" in key for key in at[40] if key.startswith("optimizers/"))
    assert any("generator.coarse" in key for key in at[56] if key.startswith("optimizers/"))
    assert load("runs/x").recipe.stages == []
    assert load("runs/x/checkpoints/000000024").recipe.data.size == (16, 16)
    assert json.loads(Path("runs/x/status.json").read_text())["state"] == "finished"


@pytest.mark.slow
@pytest.mark.parametrize(
    "images", [32, *(pytest.param(n, marks=pytest.mark.exhaustive) for n in (8, 24, 40, 48))]
)
def test_resumed_anywhere_the_bits_are_the_same(images: int) -> None:
    """Between stages and inside them; the run was cut short after that checkpoint."""
    run_here("x")
    shutil.copytree("runs/x", "runs/y")
    for folder in Path("runs/y/checkpoints").glob("0*"):
        if int(folder.name) > images:
            shutil.rmtree(folder)
    run_here("y")
    assert_identical(tensors("x", 56), tensors("y", 56))
    assert train(*RUN, "run=y").state == "finished"  # and then there is nothing to do


@pytest.mark.slow
def test_a_network_that_a_stage_brings_begins_with_its_own_weights() -> None:
    torch.manual_seed(5)
    trained = timm.create_model("test_resnet")
    trained(torch.randn(2, 3, 64, 64))  # its batch norms have seen something
    weights = trained.state_dict()
    torch.save(weights, "weights.pt")
    network = "{name: projected, backbone: test_resnet, weights: weights.pt, width: 4, size: 128}"
    second = f"{{length: 8, method: {{more_discriminators: [{{network: {network}}}]}}}}"
    assert (
        train(*RUN[:-1], "run=x", "precision=fp32", f"stages=[{{length: 8}}, {second}]").state
        == "finished"
    )
    after = tensors("x", 16)
    key = "conv1.0.weight"
    seen = [
        value
        for name, value in after.items()
        if name.startswith("networks/discriminator_1") and key in name
    ]
    assert len(seen) == 1
    assert torch.equal(seen[0], weights[key])


def test_turns_are_counted_from_the_stages_start() -> None:
    assert Context(0, 48, 8, (), stage_start=40).turn == 1


MISTAKES = {
    "stages=[{run: other}]": "stages.0: found run, which is the whole run's; set it outside of stages",
    "stages=[{length: 8}, {data: {sise: 3}}]": "stages.1.data.sise: unknown key; did you mean data.size?",
    "stages=[{stages: []}]": "stages.0: found stages, which is",
    "stages=[3]": "stages.0: found 3, allowed: a mapping",
    "stages=[{freeze: [nothing]}]": "freeze: found 'nothing'",
    "stages=[{length: 8}, {freeze: [nothing]}]": "stages.1: freeze: found 'nothing'",
    "length=8": "length: found 8, which has no effect, since each stage sets its own",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_named_by_its_stage(words: str) -> None:
    with pytest.raises(ValueError, match=f"^{MISTAKES[words]}") as raised:
        train(*RUN, "run=x", words)
    assert "\n" not in str(raised.value)
    assert not Path("runs/x/checkpoints").exists(), "it trained before"


def test_a_stage_may_change_nothing() -> None:
    assert [
        stage.length for stage in stages(load_recipe("quickstart", ("stages=[{length: 8}, {}]",)))
    ] == [
        8,
        "12 epochs",
    ]

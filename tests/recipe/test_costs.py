"""What a run costs is counted before it is built, and counted right; settings without effect are
told.
"""

import re
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import RECIPE_NAMES, SMALL, run_here
from safetensors.torch import save_file

from gantrain.core.world import World
from gantrain.data.shard_names import expand_pattern
from gantrain.data.shards import Field
from gantrain.inference.loading import load
from gantrain.recipe import costs, schema
from gantrain.recipe.build_method import make_method, sketch_method
from gantrain.recipe.evaluation_settings import check_settings
from gantrain.training.setup import RunSetup

FACTS = {"source_channels": 3, "target_channels": 3}


@pytest.mark.parametrize("name", RECIPE_NAMES)
def test_a_sketch_has_no_storage(name: str) -> None:
    loaded = schema.load(name)
    before = time.process_time()
    sketch = sketch_method(loaded, FACTS)
    assert time.process_time() - before < 20
    assert {p.device.type for p in [*sketch.parameters(), *sketch.buffers()]} == {"meta"}


@pytest.mark.parametrize(
    "name", ["pix2pix", "cut", "cyclegan", "cityscapes_spade", "cityscapes_pix2pixhd"]
)
def test_a_sketch_has_the_methods_networks(name: str) -> None:
    loaded = schema.load(name, ["method.generator.width=4"])
    sketch, made = sketch_method(loaded, FACTS), make_method(loaded, FACTS)
    shapes = [
        {key: tensor.shape for key, tensor in method.state_dict().items()}
        for method in (sketch, made)
    ]
    assert shapes[0] == shapes[1]
    assert costs.count_memory(sketch, 4) == costs.count_memory(made, 4)


@pytest.mark.parametrize("network", ["pretrained_unet", "projected"])
def test_networks_of_timm_can_be_sketched(network: str) -> None:
    words = ["method.generator=pretrained_unet"]
    if network == "projected":
        words = ["method.more_discriminators=[{network: projected}]"]
    sketch = sketch_method(schema.load("pix2pix", words), FACTS)
    assert {p.device.type for p in sketch.parameters()} == {"meta"}


def test_memory_and_checkpoints_are_counted_right() -> None:
    """By the engine's own tensors and by the files of a checkpoint."""
    words = (*SMALL, "batch_size=8", "length=8", "ema.half_life=8", "checkpoint.every=8")
    setup = RunSetup(schema.load("quickstart", words), World("cpu"))
    engine = setup.engine()
    held = [*engine.method.parameters(), *engine.method.buffers()]
    copies = [*engine.ema.method.parameters(), *engine.ema.method.buffers()]
    assert setup.memory.weights == sum(tensor.nbytes for tensor in held)
    assert setup.memory.average == sum(tensor.nbytes for tensor in copies)
    trained = sum(p.nbytes for p in engine.method.networks.parameters())
    assert setup.memory.gradients == trained
    assert setup.memory.optimizers == 2 * trained
    run_here(*words, "run=x")
    folder = next(Path("runs/x/checkpoints").iterdir())
    written = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
    assert costs.checkpoint_bytes(setup.sketch, setup.recipe, 4) == pytest.approx(written, rel=0.1)


def test_a_dry_run_says_what_it_would_cost(capsys: pytest.CaptureFixture[str]) -> None:
    words = (
        "batch_size=8",
        "length=2 epochs",
        "checkpoint.every=1 epoch",
        "evaluate.weights={unet: a}",
    )
    assert run_here(*SMALL, *words, "run=x", "dry_run=true") == "dry run"
    text = capsys.readouterr().out
    for line in (
        r"data: 400 images, drawn into ",
        r"length: 800 images \(2 epochs of 400 images each\) in 100 steps of 8 images",
        r"losses: gan 1, l1 30, d 0.5 \(",
        r"parameters: generator [\d,]+, discriminator [\d,]+",
        r"memory: [\d.]+ KiB per rank \(weights [\d.]+ KiB, .*gradients .*optimisers [\d.]+ KiB\), not counting",
        r"evaluate.weights: unet has no effect, since no metric in evaluate.metrics uses it",
        r"batch 8 = 1 rank x 8 images x 1 accumulation",
        r"checkpoints: about 2 of [\d.]+ KiB each, of which 2 stay: [\d.]+ (K|M)iB on the disk",
    ):
        assert re.search(line, text), line
    assert not Path("runs").exists()


def test_a_large_dry_run_needs_no_memory_for_its_networks() -> None:
    """183 million parameters, which as float32 are 0.7 GiB, and four times that with Adam."""
    loaded = schema.load("cityscapes_pix2pixhd")
    before = time.process_time()
    sketch = sketch_method(loaded, {"source_channels": 36, "target_channels": 3})
    memory = costs.count_memory(sketch, 4)
    assert time.process_time() - before < 10
    assert memory.total > 3 * costs.GIB


def test_networks_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = costs.Memory(
        weights=costs.GIB, average=costs.GIB, gradients=costs.GIB, optimizers=2 * costs.GIB
    )
    device = torch.device("cpu")
    monkeypatch.setattr(costs, "_memory_of", lambda device: (5 * costs.GIB, "this machine"))
    costs.check_memory(memory, device)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(
        ValueError,
        match=r"method: the networks need 5 GiB per rank .* 2 ranks, and this machine has 5 GiB",
    ):
        costs.check_memory(memory, device)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    monkeypatch.setattr(costs, "_memory_of", lambda device: (5 * costs.GIB - 1, "this machine"))
    with pytest.raises(ValueError, match="choose smaller ones"):
        costs.check_memory(memory, device)


def test_a_checkpoint_that_asks_for_too_much_is_refused() -> None:
    """It may come from elsewhere; nothing is built of it."""
    run_here(*SMALL, "batch_size=8", "length=8", "run=x")
    folder = next(Path("runs/x/checkpoints").iterdir())
    saved = (folder / "recipe.yaml").read_text()
    larger = saved.replace("width: 8, levels: 3", "width: 4096, levels: 12")
    assert larger != saved
    (folder / "recipe.yaml").write_text(larger)
    with pytest.raises(
        ValueError, match=r"method: the networks need [\d.]+ TiB per rank \(weights [\d.]+ TiB\)"
    ):
        load(folder, "cpu")
    bomb = "\n".join(
        f"a{i}: &a{i} [{'*a' + str(i - 1) + ', *a' + str(i - 1) if i else 'x'}]" for i in range(60)
    )
    (folder / "recipe.yaml").write_text(bomb)
    with pytest.raises(
        ValueError, match=r"recipe.yaml: line \d+, column \d+: found more than 10,000 values"
    ):
        load(folder, "cpu")


@pytest.mark.parametrize("channels", [0, -1, 10**15, 1.5, "3", None, True])
def test_channels_past_reason_are_refused(channels: object) -> None:
    facts: dict[str, Any] = {"source_channels": channels, "target_channels": 3}
    with pytest.raises(
        ValueError, match=r"source_channels: found .*, allowed: a whole number, 1 to 131,072"
    ):
        sketch_method(schema.load("quickstart"), facts)


def test_optimisers_that_are_sharded_are_counted_once() -> None:
    sketch = sketch_method(schema.load("quickstart"), FACTS)
    alone, shared = costs.count_memory(sketch, 4), costs.count_memory(sketch, 4, sharded_over=4)
    assert shared.optimizers == alone.optimizers // 4
    assert shared.weights == alone.weights


def field(kind: str = "image", channels: int = 3) -> Field:
    classes = 5 if kind == "label" else None
    return Field(
        member="image",
        kind=kind,
        channels=channels,
        classes=classes,
        dtype="uint8",
        min_size=(8, 8),
        max_size=(8, 8),
    )


def test_settings_of_evaluate_that_have_no_effect_are_told() -> None:
    fields = {"source": field("label", 1), "target": field(channels=5)}
    save_file({"a": torch.zeros(1)}, "a.safetensors")
    weights = {"unet": "a.safetensors", "inception": "a.safetensors", "lpips": "none"}
    lines = check_settings(["l1", "fid", "miou_unet"], weights, 3, (8, 8), fields)
    assert len(lines) == 2
    assert lines[0].startswith("evaluate.weights: lpips has no effect")
    assert lines[1].startswith(
        "evaluate.metrics: fid will have no value, since they take images of 1 or 3 channels"
    )
    with pytest.raises(ValueError, match=r"evaluate.crop_border: found 4, allowed: at most 3"):
        check_settings(["l1"], {}, 4, (8, 8), fields)


@pytest.mark.parametrize(
    "numbers", ["0..1000000", "0..99999999999", f"{'9' * 5000}..1", f"0..{'9' * 5000}"]
)
def test_a_pattern_of_shards_stands_for_a_million_names_at_most(numbers: str) -> None:
    with pytest.raises(ValueError, match="allowed: 1,000,000 names at most"):
        expand_pattern(f"s-{{{numbers}}}.tar")
    assert expand_pattern("s-{08..10}.tar") == ["s-08.tar", "s-09.tar", "s-10.tar"]


DRAWN = {
    "train": "synthetic",
    "train_target": None,
    "validation": "synthetic",
    "validation_target": None,
}


@pytest.mark.parametrize("name", RECIPE_NAMES)
def test_drawn_data_replace_all_of_a_recipes_data(name: str) -> None:
    data = schema.load(name, ["data=synthetic"]).data.model_dump()
    assert {key: data[key] for key in DRAWN} == DRAWN


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    ("key", "value"), [("validation", "data/mine"), ("validation", "null"), ("train", "data/x")]
)
def test_other_settings_of_the_data_are_honoured_beside_drawn_ones(
    key: str, value: str, first: bool
) -> None:
    words = [f"data.{key}={value}", "data=synthetic"]
    data = schema.load("facades", words if first else words[::-1]).data.model_dump()
    assert data[key] == (None if value == "null" else value)


def test_a_run_without_held_out_data_is_one() -> None:
    """`data.validation=null` trains without, also on drawn images."""
    setup = RunSetup(schema.load("quickstart", [*SMALL, "data.validation=null"]), World("cpu"))
    assert setup.data.held_out is None

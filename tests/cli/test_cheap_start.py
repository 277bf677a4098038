"""Checks before training draw no weights and no pictures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import SMALL, run_here

from gantrain import train
from gantrain.core.world import World
from gantrain.data.cache import cache_folder
from gantrain.losses.perceptual import VGG19
from gantrain.recipe import schema
from gantrain.recipe.sections import Evaluate
from gantrain.training.setup import RunSetup

INITIALISERS = ("normal_", "uniform_", "zero_", "fill_")  # by which constructors set weights
PIX2PIXHD = (
    "method=pix2pixhd",
    "method.generator={name: coarse_to_fine, width: 4, blocks: 1}",
    "method.discriminator={name: multiscale_patchgan, width: 4}",
)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of values of weights that are initialised, each with its storage."""
    sizes: list[int] = []

    def counting(initialiser: Callable[..., Any]) -> Callable[..., Any]:
        def initialise(tensor: torch.Tensor, *args: Any, **keywords: Any) -> Any:
            if not tensor.is_meta and tensor.ndim > 1:
                sizes.append(tensor.numel())
            return initialiser(tensor, *args, **keywords)

        return initialise

    for name in INITIALISERS:
        monkeypatch.setattr(torch.Tensor, name, counting(getattr(torch.Tensor, name)))
    return sizes


def test_initialised_weights_are_counted(drawn: list[int]) -> None:
    torch.nn.Conv2d(2, 3, 5)
    assert drawn == [150]


def test_a_dry_run_draws_no_weights_and_no_pictures(
    drawn: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANTRAIN_CACHE", str(tmp_path / "cache"))
    words = ("data=synthetic", "precision=fp32", "device=cpu", "dry_run=true")
    assert train("cityscapes_pix2pixhd_1024p", *words).state == "dry run"
    assert drawn == []
    assert not list(cache_folder().rglob("index.json"))


def test_a_dry_run_draws_pictures_where_their_shards_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANTRAIN_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ValueError, match=r"data\.partitions: found 2, allowed: at most 1"):
        run_here(*SMALL, "run=x", "data.partitions=2", "batch_size=8", "dry_run=true")


def test_a_trial_of_init_from_draws_no_weights(
    drawn: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    run_here(*SMALL, "run=a", "length=8", "batch_size=8")
    drawn.clear()
    run_here(*SMALL, "run=b", "init_from=runs/a", "dry_run=true")
    assert drawn == []
    text = " ".join(capsys.readouterr().out.split())
    sketch = RunSetup(schema.load("quickstart", SMALL), World("cpu")).sketch
    count = len(sketch.networks["generator"].state_dict())
    assert f"init_from: generator: {count} of {count} tensors from runs/a" in text


def test_a_trial_of_pretrained_weights_draws_none(
    drawn: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[VGG19] = []
    monkeypatch.setattr(VGG19, "load", lambda vgg: loaded.append(vgg))
    RunSetup(schema.load("quickstart", (*SMALL, *PIX2PIXHD)), World("cpu"))
    assert len(loaded) == 1
    assert drawn == []


def test_the_defaults_of_evaluate_are_valid() -> None:
    assert Evaluate.model_construct() == Evaluate()

"""The reconstruction losses of methods with pairs: weights, schedules, what is computed and loaded."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from comparing import assert_identical, tensors
from conftest import run_here
from small_methods import SHORT_RUN
from torch import Tensor

from gantrain import load
from gantrain.core.component import BadComponent, build
from gantrain.losses import RECONSTRUCTION, ReconstructionLoss
from gantrain.losses.pixel_losses import L1
from gantrain.losses.reconstruction_loss import TAKEN
from gantrain.methods import METHODS
from gantrain.methods.base import Batch, Context, Method
from gantrain.recipe import schema
from gantrain.recipe.build_method import check_method, sketch_method

SMALL: dict[str, dict[str, Any]] = {
    "pix2pix": {"generator": {"name": "unet", "width": 4, "levels": 4}},
    "survey": {},
    "pix2pixhd": {
        "generator": {"name": "resnet", "width": 4, "blocks": 1},
        "discriminator": {"name": "multiscale_patchgan", "width": 4},
        "losses": {"perceptual": 0},
    },
    "spade": {
        "generator": {"name": "spade", "width": 2, "hidden": 4},
        "losses": {"perceptual": 0},
    },
}
DEFAULTS = {
    "pix2pix": ["l1"],
    "survey": [],
    "pix2pixhd": ["feature_matching"],
    "spade": ["feature_matching"],
}
SIZE = 64


def make(name: str, **losses: Any) -> Any:
    torch.manual_seed(0)
    options = {**SMALL[name], "losses": {**SMALL[name].get("losses", {}), **losses}}
    return build(METHODS, {"name": name, **options}, source_channels=3, target_channels=3)


def pairs() -> Batch:
    torch.manual_seed(1)
    return {name: torch.rand(2, 3, SIZE, SIZE) * 2 - 1 for name in ("source", "target")}


def context(images: int = 0, stage_start: int = 0) -> Context:
    return Context(0, images, 2, (images, images + 1), stage_start=stage_start)


def of_generator(method: Method, batch: Batch, at: Context) -> Any:
    torch.manual_seed(2)
    return method.phases[0].terms(batch, None, at)


def test_every_method_with_pairs_has_them() -> None:
    paired = {name for name, cls in METHODS.items() if cls.paired}
    assert paired == set(SMALL)


@pytest.mark.parametrize("name", SMALL)
def test_losses_are_laid_on_those_of_the_method(name: str) -> None:
    """The new term is weight * loss; a weight of 0 leaves nothing of a loss."""
    batch = pairs()
    method = make(name, charbonnier=3, ssim={"weight": 2})
    assert list(method.auxiliary) == [
        n for n in RECONSTRUCTION if n in {*DEFAULTS[name], "charbonnier", "ssim"}
    ]
    terms = of_generator(method, batch, context())
    fake, target = terms.carried["fake"], batch["target"]
    distance = ((fake - target).square() + 1e-6).sqrt().mean()
    torch.testing.assert_close(terms.losses["charbonnier"].detach(), 3 * distance)
    assert method.loss_weights["ssim"] == 2
    assert "perceptual" not in terms.losses
    removed = make(name, **dict.fromkeys(DEFAULTS[name], 0))
    assert len(removed.auxiliary) == 0
    assert not set(RECONSTRUCTION) & set(of_generator(removed, batch, context()).losses)


def test_a_removed_loss_is_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("built")

    for name in ("perceptual", "lpips", "dists"):
        monkeypatch.setattr(RECONSTRUCTION[name], "__init__", refuse)
        make("pix2pix", **{name: 0})
        make("pix2pix", **{name: {0: 0, 20: 0}})
        with pytest.raises(AssertionError, match="built"):
            make("pix2pix", **{name: 1})


def test_a_schedule_counts_the_images_of_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """The weight at each image, and no computation where it is 0."""
    calls: list[int] = []
    forward = L1.forward

    def counted(loss: L1, *parts: Any) -> Tensor:
        calls.append(1)
        return forward(loss, *parts)

    monkeypatch.setattr(L1, "forward", counted)
    batch = pairs()
    method = make("pix2pix", l1={10: 0, 30: 40, 40: 0})
    assert method.loss_weights["l1"] == {10: 0, 30: 40, 40: 0}
    for images, weight in ((0, 0), (10, 0), (20, 20), (30, 40), (35, 20), (50, 0)):
        calls.clear()
        terms = of_generator(method, batch, context(100 + images, stage_start=100))
        expected = weight * (terms.carried["fake"] - batch["target"]).abs().mean()
        torch.testing.assert_close(terms.losses["l1"].detach(), torch.as_tensor(expected).float())
        assert len(calls) == (weight > 0)


def test_pixels_are_weighted_by_a_mask_or_by_classes() -> None:
    batch = pairs()
    mask = (torch.rand(2, 1, SIZE, SIZE) > 0.5).float()
    ids = torch.randint(3, (2, SIZE, SIZE))
    labels = torch.nn.functional.one_hot(ids, 3).permute(0, 3, 1, 2).float()
    classes = {0: 5.0, 2: 0.5}
    for losses, batch_of, weights in (
        ({"weight_by": "mask"}, {**batch, "mask": mask}, mask),
        (
            {"weight_by": "source", "class_weights": classes},
            {**batch, "source": labels},
            torch.tensor([5.0, 1.0, 0.5])[ids][:, None],
        ),
    ):
        method = make("pix2pix", l1={"weight": 7, **losses})
        terms = of_generator(method, batch_of, context())
        difference = (terms.carried["fake"] - batch["target"]).abs()
        torch.testing.assert_close(terms.losses["l1"].detach(), 7 * (weights * difference).mean())


def problems(*words: str) -> str:
    """What is wrong with a recipe of `quickstart`, whose source is a label map of 10 classes."""
    recipe = schema.load("quickstart", words)
    method = sketch_method(recipe, {"source_channels": 10, "target_channels": 3})
    try:
        check_method(recipe, method)
    except ValueError as error:
        return str(error)
    return ""


FITTING = (
    ("method.losses.l1={weight_by: source, class_weights: {0: 2, 9: 3}}",),
    ("method.losses.l1.weight_by=mask", "data.inputs.mask=holes"),
    ("method.losses.ms_ssim={weight: 1, scales: 3}",),
)
UNFIT = {
    ("method.losses.l1.weight_by=mask",): (
        "method.losses.l1.weight_by: found 'mask', allowed: source; data.inputs.mask=FIELD names a"
        " field of masks"
    ),
    ("method.losses.l2={weight: 1, weight_by: target}",): (
        "method.losses.l2.weight_by: found 'target', allowed: source; data.inputs.mask=FIELD names"
        " a field of masks"
    ),
    ("method.losses.l1.weight_by=source",): (
        "method.losses.l1.class_weights: found none, but source is a label map; give the weights of"
        " its classes, such as {0: 5}"
    ),
    ("method.losses.l1={weight_by: source, class_weights: {10: 2}}",): (
        "method.losses.l1.class_weights: found the class 10, allowed: 0 to 9, the classes of source"
    ),
    ("method.losses.l1.class_weights={1: 2}",): (
        "method.losses.l1.class_weights: found weights without method.losses.l1.weight_by; name the"
        " label map"
    ),
    (
        "method.losses.l1={weight_by: mask, class_weights: {1: 2}}",
        "data.inputs.mask=holes",
    ): "method.losses.l1.class_weights: found weights, but mask is a mask; remove them",
    ("method.losses.ms_ssim=1",): (
        "data.size: found [64, 64], method.losses.ms_ssim needs [176, 176] or more; raise data.size,"
        " or leave the loss out with method.losses.ms_ssim=0"
    ),
    ("method.losses.pyramid_l1={0: 0, 9: 1}", "method.losses.pyramid_l1.levels=8"): (
        "data.size: found [64, 64], method.losses.pyramid_l1 needs [128, 128] or more; raise"
        " data.size, or leave the loss out with method.losses.pyramid_l1=0"
    ),
}


@pytest.mark.parametrize("words", FITTING)
def test_losses_that_fit_the_data(words: tuple[str, ...]) -> None:
    assert problems(*words) == ""


@pytest.mark.parametrize("words", UNFIT)
def test_losses_that_do_not_fit_the_data_are_one_line(words: tuple[str, ...]) -> None:
    assert problems(*words) == UNFIT[words]


@pytest.mark.slow
def test_losses_with_weights_of_files_train_and_resume() -> None:
    """LPIPS and torchvision by random weights in files, which translating needs no more."""
    torch.manual_seed(0)
    state = torchvision.models.squeezenet1_1(weights=None).state_dict()
    torch.save(state, "squeeze.pth")
    network = (
        "{name: torchvision, backbone: squeezenet1_1, layers: [features.4], weights: squeeze.pth}"
    )
    words = (
        *SHORT_RUN,
        "method.losses.lpips={weight: {0: 0, 16: 2}, network: squeeze, weights: squeeze.pth}",
        f"method.losses.perceptual={{weight: 1, network: {network}}}",
        "method.losses.l1={weight_by: source, class_weights: {3: 4}}",
        "batch_size=8",
        "log_every=8",
        "checkpoint.every=8",
        "precision=fp32",
    )
    run_here(*words, "run=whole", "length=24")
    run_here(*words, "run=parts", "length=8")
    run_here(*words, "run=parts", "length=24")
    assert_identical(tensors("whole", 24), tensors("parts", 24))
    rows = [json.loads(x) for x in Path("runs/whole/metrics.jsonl").read_text().splitlines()]
    lpips = [row["lpips"] for row in rows if "lpips" in row]
    assert lpips[0] == 0 < lpips[1] < lpips[2]
    assert all(row["perceptual"] > 0 for row in rows if "gan" in row)
    Path("squeeze.pth").unlink()
    assert load("runs/whole", device="cpu").translate(np.zeros((64, 64), np.uint8)).shape


@pytest.mark.slow
def test_a_mask_of_the_data_weights_a_loss() -> None:
    """Only the holes count, so that the term is smaller by their fraction."""
    words = (*SHORT_RUN, "data.inputs.mask=hole", "batch_size=8", "length=8", "log_every=8")
    terms = []
    for run, weight_by in (("whole", "null"), ("holes", "mask")):
        run_here(*words, f"run={run}", f"method.losses.l1.weight_by={weight_by}")
        rows = Path(f"runs/{run}/metrics.jsonl").read_text().splitlines()
        terms.append(next(json.loads(row)["l1"] for row in rows if "l1" in json.loads(row)))
    assert 0 < terms[1] < 0.6 * terms[0]


class Own(ReconstructionLoss):
    """A loss from outside, which takes everything."""

    takes = TAKEN

    def forward(self, *parts: Any) -> Tensor:
        self.parts = dict(zip(TAKEN, parts, strict=True))
        distance: Tensor = (self.parts["fake"] - self.parts["target"]).abs().mean()
        return distance


def test_a_loss_from_outside_takes_what_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECONSTRUCTION, "own", Own)
    assert schema.load("pix2pix", ["method.losses.own=2"]).method["losses"]["own"] == {"weight": 2}
    batch = pairs()
    method = make("pix2pix", own=2)
    terms = of_generator(method, batch, context(8))
    parts = method.auxiliary["own"].parts
    assert torch.equal(parts["target"], batch["target"])
    assert parts["pixel_weights"] is None
    shapes = [[x.shape for x in scale] for scale in parts["on_fake"]]
    assert shapes == [[x.shape for x in scale] for scale in parts["on_real"]]
    assert not parts["on_real"][0][-1].requires_grad
    draws = [random.random() for random in parts["generators"]]
    assert len(set(draws)) == 2
    assert terms.losses["own"] > 0


def test_losses_from_outside_that_break_the_contract_are_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Greedy(ReconstructionLoss):
        takes = ("fake", "source")

    class Weighted(ReconstructionLoss):
        def __init__(self, *, weight: float = 1.0) -> None:
            super().__init__()

    class Untyped(ReconstructionLoss):
        def __init__(self, *, epsilon=1.0) -> None:  # type: ignore[no-untyped-def]
            super().__init__()

    monkeypatch.setitem(RECONSTRUCTION, "own", torch.nn.L1Loss)
    with pytest.raises(BadComponent, match=r"losses.own: L1Loss is no gantrain.ReconstructionLoss"):
        make("pix2pix", own=1)
    monkeypatch.setitem(RECONSTRUCTION, "own", Greedy)
    with pytest.raises(BadComponent, match=r"Greedy.takes: found 'source', allowed: fake, target"):
        make("pix2pix", own=1)
    monkeypatch.setitem(RECONSTRUCTION, "own", Untyped)
    assert schema.load("pix2pix").method["losses"]  # a broken class that no recipe names
    with pytest.raises(ValueError, match=r"Untyped can't be a part of a recipe \(epsilon has no"):
        schema.load("pix2pix", ["method.losses.own=1"])
    monkeypatch.setitem(RECONSTRUCTION, "own", Weighted)
    with pytest.raises(ValueError, match=r"own: found an option `weight`, which is the term's own"):
        schema.load("pix2pix", ["method.losses.own=1"])

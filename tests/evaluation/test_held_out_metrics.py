"""Validation metrics against scikit-image."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL, run_here
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import gantrain
from gantrain.core.world import World
from gantrain.data.synthetic import draw
from gantrain.evaluation import held_out as validation
from gantrain.metrics.paired import ssim
from gantrain.recipe.schema import load
from gantrain.training.setup import RunSetup


@pytest.mark.parametrize("mean", [-0.8, 0.0, 0.6])
def test_ssim_is_scikit_images(mean: float) -> None:
    """Also around 0, where SSIM on [-1, 1] itself would fall apart."""
    random = np.random.default_rng(0)
    target = (mean + 0.1 * random.standard_normal((1, 3, 48, 40))).clip(-1, 1)
    fake = (target + 0.05 + 0.03 * random.standard_normal(target.shape)).clip(-1, 1)
    ours = ssim(torch.from_numpy(fake), torch.from_numpy(target)).item()
    theirs = structural_similarity(
        (fake[0] + 1) / 2, (target[0] + 1) / 2, data_range=1.0, channel_axis=0,
        gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    )  # fmt: skip
    assert ours == pytest.approx(theirs, abs=1e-9)


def test_metrics_are_those_of_the_saved_model() -> None:
    """Evaluated again from outside, on the same drawn samples."""
    run_here(*SMALL, "run=x", "batch_size=8", "length=16", "evaluate.max_samples=11")
    row = [json.loads(line) for line in Path("runs/x/metrics.jsonl").read_text().splitlines()][-1]
    model, scores = gantrain.load("runs/x", "cpu"), []
    for index in range(11):
        ids, photo, _ = draw(index, 32, 32, seed=1)
        one_hot = torch.nn.functional.one_hot(torch.from_numpy(ids).long(), 10).permute(2, 0, 1)
        fake = model.translate(one_hot.float()).double().numpy()
        target = photo.transpose(2, 0, 1) / 127.5 - 1
        l1 = np.abs(fake - target).mean()
        scores.append((l1, peak_signal_noise_ratio(target, fake, data_range=2.0)))
    assert row["val_l1"] == pytest.approx(np.mean(scores, 0)[0], abs=1e-5)
    assert row["val_psnr"] == pytest.approx(np.mean(scores, 0)[1], abs=1e-3)


def test_nulls_are_drawn_from_all_training_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neighbours, such as a film's frames, are more alike."""
    words = [
        *SMALL,
        "evaluate.metrics=[l1,fd_random0]",
        "evaluate.max_samples=13",
    ]  # as no other test: features are kept
    setup = RunSetup(load("quickstart", words), World("cpu"))
    assert setup.data.held_out is not None
    asked: list[list[int]] = []
    read = validation.held_out_batches
    monkeypatch.setattr(
        validation, "held_out_batches", lambda *a, **k: asked.append([*a[2]]) or read(*a, **k)
    )
    held_out = setup.make_held_out()
    assert held_out is not None
    (record,) = (r for r in held_out.metrics(setup.method()) if r.name == "fd_random0")
    assert record.null_n == 13
    assert asked[0] == list(range(13))
    assert len(set(asked[1])) == 13
    assert max(asked[1]) > 100, "of 400"


def test_a_broken_generator_has_no_value() -> None:
    """As 8-bit files its images would look like any others."""
    setup = RunSetup(load("quickstart", [*SMALL, "evaluate.metrics=[l1,swd]"]), World("cpu"))
    held_out = setup.make_held_out()
    assert held_out is not None
    method = setup.method()
    next(method.networks["generator"].parameters()).data.fill_(torch.nan)
    found = {record.name: (record.value, record.problem) for record in held_out.metrics(method)}
    assert found["l1"] == found["swd"] == (None, "images hold NaN")


def test_small_images_have_no_ssim() -> None:
    assert ssim(torch.zeros(1, 3, 11, 40), torch.zeros(1, 3, 11, 40)).isnan().all()

"""Classes found again in fakes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL, run_here
from safetensors.torch import save_file

from gantrain.core.world import World
from gantrain.metrics import registry
from gantrain.metrics.segmentation import Segmentation, Segmenter
from gantrain.metrics.segmenter_training import train_segmenter
from gantrain.recipe.schema import load
from gantrain.training.setup import RunSetup

NAMES = list(registry.SEGMENTATION)
WORDS = (*SMALL, f"evaluate.metrics=[{','.join(NAMES)}]", "evaluate.best_by=miou_unet")


def one_hot(ids: np.ndarray, classes: int) -> torch.Tensor:
    return torch.eye(classes)[torch.from_numpy(ids)].permute(0, 3, 1, 2)


class Reader(Segmenter):
    """Finds in an image's first channel the class itself."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return one_hot(
            ((x[:, 0].nan_to_num() + 1) * 2).round().long().numpy(), self.last.out_channels
        )


@pytest.mark.parametrize("ignored", [None, 4])
def test_scores_are_those_of_the_definitions(ignored: int | None) -> None:
    random = np.random.default_rng(0)
    true = random.choice([0, 1, 2, 4], (6, 5, 7))  # class 3 is nowhere but in what is found
    found = np.where(random.random(true.shape) < 0.6, true, random.integers(0, 5, true.shape))
    measured = Segmentation(NAMES, Reader(1, 5), ignored)
    images = [torch.from_numpy(ids / 2 - 1)[:, None] for ids in (found.copy(), true)]
    for i in (slice(0, 4), slice(4, 6)):
        measured.add(one_hot(true[i], 5), images[0][i], images[1][i])
    records = {r.name: r for r in measured.results(lambda own: [own])}
    counted = np.ones(true.shape, bool) if ignored is None else true != ignored
    if ignored is not None:  # it is never found
        found[found == ignored] = 0
    unions = {c: ((true == c) | (found == c)) & counted for c in range(5)}
    ious = [
        ((true == c) & (found == c) & counted).sum() / unions[c].sum()
        for c in range(5)
        if unions[c].any()
    ]
    recalls = [
        (found == c)[(true == c) & counted].mean()
        for c in range(5)
        if ((true == c) & counted).any()
    ]
    assert records["miou_unet"].value == pytest.approx(np.mean(ious))
    assert records["pixel_accuracy_unet"].value == pytest.approx((found == true)[counted].mean())
    assert records["class_accuracy_unet"].value == pytest.approx(np.mean(recalls))
    assert [(r.null, r.n, r.null_n) for r in records.values()] == [(1.0, 6, 6)] * 3
    measured.reset()
    broken = images[0].clone()
    broken[2, 0, 1, 1] = torch.nan
    for fake in (images[0], broken):
        measured.add(one_hot(true, 5), fake, images[1])
    assert {(r.value, r.problem) for r in measured.results(lambda own: [own])} == {
        (None, "images hold NaN")
    }


def test_a_segmenter_takes_any_size() -> None:
    for size in ((8, 8), (13, 30), (64, 48)):
        assert Segmenter(1, 3)(torch.zeros(2, 1, *size)).shape == (2, 3, *size)


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gantrain.metrics.segmenter_training.STEPS", 100)


@pytest.mark.slow
@pytest.mark.usefixtures("few_steps")
def test_it_learns_the_runs_pairs_once_and_leaves_training_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GANTRAIN_CACHE", str(Path("own").absolute()))
    words = (*WORDS, "batch_size=8", "length=16", "evaluate.every=8")
    run_here(*words, "run=x")
    assert capsys.readouterr().out.count("a segmenter learns") == 1
    setup = RunSetup(load("quickstart", words), World("cpu"))
    held_out = setup.make_held_out()
    assert held_out is not None
    assert "a segmenter learns" not in capsys.readouterr().out
    found = {r.name: r for r in held_out.metrics(setup.method())}
    assert list(found)[-3:] == NAMES
    assert found["pixel_accuracy_unet"].null is not None
    assert found["pixel_accuracy_unet"].null > 0.8, "the drawn photographs show their classes"
    assert found["miou_unet"].value is not None
    assert found["miou_unet"].value < 0.5 * found["miou_unet"].null, (
        "an untrained generator doesn't"
    )  # type: ignore[operator]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ("data.source=right", "data.target=left", "data.labels={}"),
            "need class ids as the source, found images",
        ),
        (
            ("evaluate.weights={unet: no.safetensors}",),
            "no.safetensors can't be read as tensors by name",
        ),
        (
            ("evaluate.weights={unet: other.safetensors}",),
            "other.safetensors is no unet for these channels",
        ),
    ],
)
def test_refusals(words: tuple[str, ...], says: str) -> None:
    save_file(Segmenter(3, 3).state_dict(), "other.safetensors")

    def start() -> None:
        setup = RunSetup(load("quickstart", [*WORDS, *words]), World("cpu"))
        assert setup.data.held_out is not None
        setup.make_held_out()

    with pytest.raises(ValueError, match=says) as raised:
        start()
    assert "\n" not in str(raised.value)


def test_an_ignored_class_costs_nothing() -> None:
    network = Segmenter(1, 3)
    nothing = [(one_hot(np.full((2, 8, 8), 2), 3), torch.zeros(2, 1, 8, 8))] * 3
    before = {k: v.clone() for k, v in network.state_dict().items()}
    after = train_segmenter(network, nothing, ignored=2)
    assert all(torch.equal(before[k], v) for k, v in after.items())
    measured = Segmentation(NAMES, network, ignored=2)
    measured.add(*nothing[0], nothing[0][1])
    assert {(r.value, r.null, r.problem) for r in measured.results(lambda own: [own])} == {
        (None, None, "no pixel is of any class")
    }


@pytest.mark.exhaustive
@pytest.mark.usefixtures("few_steps")
def test_what_was_learnt_from_damaged_data_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANTRAIN_CACHE", str(tmp_path))
    setup = RunSetup(load("quickstart", WORDS), World("cpu"))
    assert setup.data.held_out is not None
    damaged, read = setup.data.train.where(3), setup.data.train.read  # type: ignore[union-attr]

    def failing(i: int, member: str) -> bytes:
        return b"damaged" if i == 3 else read(i, member)

    monkeypatch.setattr(setup.data.train, "read", failing)
    held_out = setup.make_held_out()
    assert held_out is not None
    held_out.metrics(setup.method())
    assert any(damaged in text for text in held_out.damaged)
    assert not list(tmp_path.glob("metrics/unet-*"))


def test_a_single_class_is_found_everywhere():
    measured = Segmentation(["miou_unet"], Segmenter(3, 1), None)
    images = torch.zeros(2, 3, 16, 16)
    measured.add(torch.ones(2, 1, 16, 16), images, images)
    (record,) = measured.results(lambda counts: [counts])
    assert record.value == 1
    assert record.null == 1

"""What the README promises: the quickstart, and real photographs."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL
from PIL import Image

import gantrain
from gantrain import train
from gantrain.data.synthetic import CLASS_COLOURS, draw


def agreement(run: str, size: int, samples: int = 16) -> float:
    """Share of pixels of held-out fakes whose nearest class colour is their label's."""
    model, colours = gantrain.load(f"runs/{run}", "cpu"), np.asarray(CLASS_COLOURS, float)
    right = []
    for index in range(samples):
        ids = draw(index, size, size, seed=1)[0]
        fake = model.translate(ids).astype(float)
        nearest = ((fake[..., None, :] - colours) ** 2).sum(-1).argmin(-1)
        right.append((nearest == ids).mean())
    return float(np.mean(right))


def rows_of(run: str) -> list[dict[str, float]]:
    return [json.loads(line) for line in Path(f"runs/{run}/metrics.jsonl").read_text().splitlines()]


@pytest.mark.exhaustive
def test_quickstart_agrees_with_its_labels() -> None:
    """A third of its length is enough for the promised 80 %."""
    assert train("quickstart", "length=5 epochs", "device=cpu").state == "finished"
    assert agreement("quickstart", 64) >= 0.8
    rows = rows_of("quickstart")
    assert rows[-1]["images_seen"] == 2000
    assert rows[-1]["val_l1"] < 0.15
    sheets = sorted(Path("runs/quickstart/previews").glob("*.png"))
    assert sheets
    with Image.open(sheets[-1]) as sheet:
        assert sheet.size == (3 * 68 + 4, 4 * 68 + 4)


@pytest.mark.slow
def test_facades_train_on_real_photographs(facades: Path) -> None:
    """From the folder of JPEG pairs; a few steps."""
    words = ("data.size=[64,64]", "data.resize=[72,72]", "method.generator.width=16")
    result = train(
        "facades", *words, *SMALL[1:2], *SMALL[5:], f"data.train={facades / 'train'}",
        f"data.validation={facades / 'test'}", "method.generator.levels=6", "length=64",
        "evaluate.max_samples=8", "batch_size=8",
    )  # fmt: skip
    assert result.state == "finished"
    rows = rows_of("facades")
    assert 0.2 < rows[-1]["val_l1"] < 0.7
    with Image.open(facades / "test" / "1.jpg") as pair:
        labels = pair.crop((256, 0, 512, 256))
    assert gantrain.load("runs/facades", "cpu").translate(labels).size == (256, 256)

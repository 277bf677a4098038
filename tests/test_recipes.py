"""Recipes that train on drawn data through the real command line, small and for a few steps."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TINY = (
    "data=synthetic", "data.size=[32,32]", "data.resize=[36,36]", "batch_size=2", "length=4", "log_every=2",
    "evaluate.max_samples=4", "evaluate.every=4", "previews.every=4", "checkpoint.every=4", "precision=fp32",
    "device=cpu", "threads=1", "trackers=[]", "run=tiny",
)  # fmt: skip
DISCRIMINATOR = ("method.discriminator.width=4", "method.discriminator.layers=1")
CYCLEGAN = ("method.generator.width=4", "method.generator.blocks=1", *DISCRIMINATOR)
SMALL = dict.fromkeys(
    ["cyclegan", "horse2zebra", "monet2photo", "daynight", "cityscapes_cyclegan"], CYCLEGAN
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe",  # those that change a line or two of another's are for the exhaustive run
    [
        r if r in ("cyclegan", "daynight") else pytest.param(r, marks=pytest.mark.exhaustive)
        for r in SMALL
    ],
)
def test_recipe_trains_on_drawn_data(recipe: str) -> None:
    """And what it leaves is evaluated and translates, by itself."""
    words = [sys.executable, "-m", "gantrain"]
    train = [*words, "train", f"recipe={recipe}", *TINY, *SMALL[recipe]]
    done = subprocess.run(train, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    row = json.loads(Path("runs/tiny/metrics.jsonl").read_text().splitlines()[-1])
    assert {"val_fd_random0", "val_swd", "val_d_on_held_out"} <= set(row)
    assert len(list(Path("runs/tiny/previews").glob("*.png"))) == 1
    evaluate = [*words, "evaluate", "runs/tiny", "--device", "cpu"]
    done = subprocess.run(evaluate, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fd_random0" in done.stdout

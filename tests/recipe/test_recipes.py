"""Recipes that train on drawn data through the real command line, small and for a few steps."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from small_methods import SMALL_METHODS

from gantrain.recipe import schema

TINY = (
    "data=synthetic", "data.size=[32,32]", "data.resize=[36,36]", "batch_size=2", "length=4", "log_every=2",
    "evaluate.max_samples=4", "evaluate.every=4", "previews.every=4", "checkpoint.every=4", "precision=fp32",
    "device=cpu", "threads=1", "trackers=[]", "run=tiny",
)  # fmt: skip
# The options of a small method that make it small, beside those of its networks.
SIZES = ("width", "blocks", "layers", "levels", "hidden", "downsampling", "patches")


def small_words(name: str) -> tuple[str, ...]:
    """Return the overrides that make any recipe of a method small and keep its other options."""
    sizes = []
    for key, value in SMALL_METHODS[name].method.items():
        if key in SIZES:
            sizes.append(f"method.{key}={json.dumps(value)}")
        elif isinstance(value, dict):
            sizes += [f"method.{key}.{k}={json.dumps(v)}" for k, v in value.items() if k in SIZES]
    return tuple(sizes)


def unpaired_recipes() -> dict[str, str]:
    """Return the method of each shipped recipe that learns from two sets of images."""
    methods = {}
    for path in sorted((ROOT / "recipes").glob("*.yaml")):
        loaded = schema.load(str(path))
        if loaded.data.unpaired:
            methods[path.stem] = loaded.method["name"]
    return methods


UNPAIRED = unpaired_recipes()
# The others change a line or two of these; they are for the exhaustive run.
FIRST = (*SMALL_METHODS, "daynight")


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe",
    [r if r in FIRST else pytest.param(r, marks=pytest.mark.exhaustive) for r in UNPAIRED],
)
def test_recipe_trains_on_drawn_data(recipe: str) -> None:
    """And what it leaves is evaluated and translates, by itself."""
    words = [sys.executable, "-m", "gantrain"]
    train = [*words, "train", f"recipe={recipe}", *TINY, *small_words(UNPAIRED[recipe])]
    done = subprocess.run(train, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    row = json.loads(Path("runs/tiny/metrics.jsonl").read_text().splitlines()[-1])
    assert {"val_fd_random0", "val_swd", "val_d_on_held_out"} <= set(row)
    assert len(list(Path("runs/tiny/previews").glob("*.png"))) == 1
    evaluate = [*words, "evaluate", "runs/tiny", "--device", "cpu"]
    done = subprocess.run(evaluate, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fd_random0" in done.stdout

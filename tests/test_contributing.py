"""CONTRIBUTING.md: the network from outside trains, and the map is the folder."""

import json
import re
import subprocess
import sys
from pathlib import Path

import documents
import pytest
from conftest import ROOT
from PIL import Image

from gantrain.data.synthetic import draw

QUICK = ("data.workers=0", "trackers=[]", "evaluate.max_samples=8", "precision=fp32", "device=cpu")

SMALL_RECIPE = """
extends: ../small.yaml
length: 16
batch_size: 8
device: cpu
trackers: []
data: {size: [32, 32], workers: 0}
method: {generator: {width: 8, levels: 3}, discriminator: {width: 8}}
evaluate: {max_samples: 8}
"""


def python(*arguments: str) -> str:
    """Run Python with the arguments, and return what it printed."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_code_is_short() -> None:
    code = documents.block("CONTRIBUTING.md", "outside")
    assert len([line for line in code.splitlines() if line.strip()]) <= 15


@pytest.mark.slow
def test_a_network_from_outside_trains() -> None:
    Path("mine.py").write_text(documents.block("CONTRIBUTING.md", "outside"))
    python("mine.py")
    assert '"finished"' in Path("runs/mine/status.json").read_text()
    assert "{name: mine, width: 8}" in Path("runs/mine/recipe.yaml").read_text()


@pytest.mark.slow
def test_the_commands_of_an_own_network_work() -> None:
    """Train, translate and evaluate, each in a process of its own, as the page prints them."""
    Path("mine.py").write_text(documents.block("CONTRIBUTING.md", "outside"))
    Path("images").mkdir()
    Image.fromarray(draw(0, 64, 64, seed=9)[0]).save("images/0.png")
    commands = [
        line.split() for line in documents.block("CONTRIBUTING.md", "outside-commands").splitlines()
    ]
    assert [command[1] for command in commands] == ["train", "translate", "evaluate"]
    for command in commands:
        more = (*QUICK, "length=16") if command[1] == "train" else ()
        printed = python("-m", "gantrain", *command[1:], *more)
        if command[1] == "train":
            assert (
                "next: gantrain translate runs/imported IMAGES --out results --import mine"
                in printed
            )
    assert "name: mine" in Path("runs/imported/recipe.yaml").read_text()
    assert Path("results/0.png").is_file()


@pytest.mark.slow
def test_an_own_method_and_loss_train_from_python() -> None:
    Path("regression.py").write_text(documents.block("CONTRIBUTING.md", "outside-method"))
    Path("recipes").mkdir()
    Path("small.yaml").write_text((ROOT / "recipes/quickstart.yaml").read_text())
    Path("recipes/quickstart.yaml").write_text(SMALL_RECIPE)
    code = documents.block("CONTRIBUTING.md", "outside-python").replace(
        "length=3 epochs", "length=24"
    )
    Path("script.py").write_text(code)
    python("script.py")
    for run, modules in (("smoothed", ["regression"]), ("regression", ["regression"])):
        folder = sorted(Path(f"runs/{run}/checkpoints").glob("0*"))[-1]
        assert json.loads((folder / "state.json").read_text())["modules"] == modules


def test_the_map_is_the_folder() -> None:
    lines = documents.block("CONTRIBUTING.md", "map").splitlines()
    mapped, folders = set(), []
    for line in lines:
        match = re.match(r"( *)(\S+)", line)
        assert match, line
        folders = [*folders[: len(match[1]) // 2], match[2]]
        mapped.add("".join(folders))
    files = {f.relative_to(ROOT).as_posix() for f in (ROOT / "gantrain").rglob("*.py")}
    inside = {f for f in files if "/__init__.py" not in f} | {"gantrain/__init__.py"}
    assert inside - mapped == set()
    assert {m for m in mapped if m.endswith(".py")} - files == set()

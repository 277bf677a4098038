"""CONTRIBUTING.md: its examples train, and the map is the folder."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import documents
import pytest
import small_methods
import test_step
from conftest import ROOT
from PIL import Image

from gantrain.data.synthetic import draw
from gantrain.methods import METHODS

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


def write_example_method() -> None:
    """Write the example's file, which a table's line makes known, and its recipe."""
    code = documents.block("CONTRIBUTING.md", "method-file")
    line = documents.block("CONTRIBUTING.md", "method-line")
    known = f"import gantrain\n\n{line}\ngantrain.METHODS.update(METHODS)\n"
    Path("bicyclegan.py").write_text(f"{code}\n{known}")
    Path("recipes").mkdir()
    recipe = documents.block("CONTRIBUTING.md", "method-recipe")
    Path("recipes/quickstart_bicyclegan.yaml").write_text(recipe)


@pytest.mark.slow
def test_the_commands_of_the_example_method_work() -> None:
    """Its recipe trains, and two styles give two translations of one label map."""
    write_example_method()
    Path("images").mkdir()
    Image.fromarray(draw(0, 64, 64, seed=9)[0]).save("images/0.png")
    train, translate = documents.block("CONTRIBUTING.md", "method-commands").splitlines()
    python("-m", *train.split(), *QUICK, "length=16", "log_every=8")
    rows = Path("runs/bicyclegan/metrics.jsonl").read_text().splitlines()
    losses = {"gan", "gan_random", "l1", "kld", "latent", "d", "d_random", "generator_gradient"}
    assert losses <= json.loads(rows[-2]).keys() | json.loads(rows[-1]).keys()
    python("-m", *translate.split())
    other_style = translate.replace("--style 7", "--style 8").replace("results", "others")
    python("-m", *other_style.split())
    translations = [Path(folder, "0.png").read_bytes() for folder in ("results", "others")]
    assert translations[0] != translations[1]


def test_the_example_method_passes_the_tests_of_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that its line in the table of small methods gives it, among others."""
    write_example_method()
    monkeypatch.syspath_prepend(Path.cwd())
    monkeypatch.setitem(METHODS, "bicyclegan", None)  # removed again after the test
    importlib.import_module("bicyclegan")
    names = dict(vars(small_methods))
    exec(documents.block("CONTRIBUTING.md", "method-small"), names)
    (small,) = names["SMALL_METHODS"].values()
    monkeypatch.setitem(small_methods.ALL, "bicyclegan", small)
    assert small_methods.missing_methods(names["SMALL_METHODS"], ["bicyclegan"]) == []
    test_step.test_step_never_reads_the_device("bicyclegan", monkeypatch)
    test_step.test_steps_in_bf16("bicyclegan")
    test_step.test_every_parameter_learns_in_its_phase_and_in_no_other("bicyclegan")
    test_step.test_a_step_that_is_not_finite_changes_nothing("bicyclegan")


def test_the_page_names_the_places_of_a_new_method() -> None:
    """Each of them is there, with the name of the example in place of an existing method's."""
    section = documents.text("CONTRIBUTING.md").split("### A method, step by step")[1]
    places = re.findall(r"^\d\. .*", section, re.M)
    assert len(places) == 3 + 5  # new files, and lines in existing ones
    for place in re.findall(r"`([\w/]+\.\w+)`", " ".join(places)):
        assert (ROOT / place.replace("bicyclegan", "cyclegan")).is_file()


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

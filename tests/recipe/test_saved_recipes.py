"""A run's saved recipe is a recipe: it goes on with its run, or repeats it under another name."""

import json
import re
import shlex
from pathlib import Path

import pytest
from conftest import RECIPE_NAMES, SMALL, run_here

from gantrain import train
from gantrain.cli.train_command import train_main
from gantrain.core import formats
from gantrain.recipe import recipe_files, schema

QUICK = (*SMALL, "batch_size=8", "data.validation=null", "checkpoint.every=8")


def save(name: str, loaded: schema.Recipe) -> Path:
    """The recipe as a run's folder holds it."""
    path = Path("runs") / name / "recipe.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(f"format: {formats.RUN}\n{loaded.yaml()}")
    return path


@pytest.mark.parametrize("name", RECIPE_NAMES)
def test_a_saved_recipe_gives_the_same_run(name: str) -> None:
    """Every key, also in stages; and the run's folder, also where it was renamed."""
    before = schema.load(name)
    after = schema.load(str(save(name, before)))
    assert after.folder == before.folder
    assert {**after.dump(), "run": None} == before.dump()
    Path("runs", name).rename(Path("runs", "renamed"))
    assert schema.load("runs/renamed/recipe.yaml").folder == Path("runs/renamed")


def test_changes_of_a_saved_recipe_lose_nothing() -> None:
    saved = str(save("mine", schema.load("daynight")))
    changed = schema.load(
        saved, ["schedule.name=cosine", "optimizer.name=adamw", "optimizer.grad_clip_norm=1"]
    )
    assert changed.schedule.decay_fraction == 0.5
    assert changed.optimizer.name == "adamw"
    assert changed.optimizer.lr == schema.load("daynight").optimizer.lr
    assert schema.load(saved, ["run=again"]).folder == Path("runs/again")


def test_a_recipe_that_extends_a_saved_one_has_a_run_of_its_own() -> None:
    save("mine", schema.load("facades", ["run=mine"]))
    Path("next.yaml").write_text("extends: runs/mine/recipe.yaml\noptimizer: {lr: 1.0e-4}\n")
    loaded = schema.load("next.yaml")
    assert loaded.folder == Path("runs/next")
    assert loaded.data == schema.load("facades").data


@pytest.mark.slow
def test_a_run_goes_on_and_is_repeated_by_its_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(*QUICK, "run=first", "length=8") == "finished"
    assert train("runs/first/recipe.yaml", "length=16").state == "finished"
    assert "resuming at image 8" in capsys.readouterr().out
    assert json.loads(Path("runs/first/status.json").read_text())["images_seen"] == 16
    assert train("runs/first/checkpoints/000000016/recipe.yaml", "run=second").state == "finished"
    assert "starting a new run" in capsys.readouterr().out
    digests = []
    for name in ("first", "second"):
        state = json.loads(Path(f"runs/{name}/checkpoints/000000016/state.json").read_text())
        digests.append(state["sha256"])
    assert digests[0] == digests[1]  # a repetition has the same weights


@pytest.mark.slow
def test_the_refusal_of_a_change_names_ways_that_work(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(*QUICK, "run=first", "length=8") == "finished"
    words = ["recipe=quickstart", *QUICK, "run=first", "optimizer.lr=1e-3"]
    capsys.readouterr()
    assert train_main(words) == 2
    line = capsys.readouterr().err
    assert "  optimizer.lr: 0.0005 -> 0.001" in line
    ways = re.search(
        r"undo the changes: (recipe=\S+) goes on.*or (run=OTHER) .* with (init_from=\S+) ", line
    )
    assert ways
    assert train_main([ways[1], "length=16"]) == 0
    assert train_main([*words, ways[2], ways[3], "length=8"]) == 0
    assert "from runs/first" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["runs/mine", "runs/mine/"])
def test_a_run_given_as_a_recipe_is_pointed_to_its_recipe(name: str) -> None:
    saved = save("mine", schema.load("facades"))
    with pytest.raises(
        ValueError, match=re.escape(f"did you mean recipe={shlex.quote(str(saved))}?")
    ):
        recipe_files.read(name)

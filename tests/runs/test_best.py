"""The best checkpoint of a run: --best, load(best=True), and the link runs/NAME/best."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SMALL, run_here
from typer.testing import CliRunner

import gantrain
from gantrain.cli.app import app
from gantrain.core.files import clean
from gantrain.metrics.registry import larger_is_better
from gantrain.runs import checkpoint, checkpoint_ranking
from gantrain.runs.best_checkpoint import LINK, find_best_checkpoint, link_best

RUN = (
    *SMALL, "batch_size=8", "length=24", "evaluate.every=8", "evaluate.max_samples=2", "previews.every=1000",
    "checkpoint.every=8", "checkpoint.keep=9", "checkpoint.best=1", "run=x",
)  # fmt: skip
LINKED = Path("runs/x", LINK)


@pytest.fixture
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with checkpoints at 8, 16 and 24 images in the present folder; trained once, then
    copied.
    """
    kept = tmp_path_factory.getbasetemp() / "run-with-three-checkpoints"
    if not kept.exists():
        assert run_here(*RUN) == "finished"
        shutil.copytree("runs/x", kept, symlinks=True)
    shutil.rmtree("runs", ignore_errors=True)
    shutil.copytree(kept, "runs/x", symlinks=True)
    return Path("runs/x")


def set_metrics(run: Path, metrics: dict[int, dict[str, float]]) -> None:
    for images, values in metrics.items():
        path = run / "checkpoints" / f"{images:09d}" / "state.json"
        content = json.loads(path.read_text())
        path.write_text(json.dumps(content | {"metrics": values}))


def set_recipe(run: Path, before: str, after: str) -> None:
    text = (run / "recipe.yaml").read_text()
    assert before in text
    (run / "recipe.yaml").write_text(text.replace(before, after))


CHOICES: dict[str, tuple[str, dict[int, float], int]] = {
    "the smallest distance": ("l1", {8: 0.3, 16: 0.2, 24: 0.4}, 16),
    "the largest likeness": ("psnr", {8: 12.0, 16: 15.0, 24: 11.0}, 16),
    "the later of equal distances": ("l1", {8: 0.2, 16: 0.2, 24: 0.4}, 16),
    "the later of equal likenesses": ("psnr", {8: 15.0, 16: 15.0, 24: 11.0}, 16),
    "one without a value counts not": ("l1", {8: 0.3, 16: 0.5}, 8),
}


@pytest.mark.parametrize("case", CHOICES)
def test_the_metrics_of_the_checkpoints_choose(run: Path, case: str) -> None:
    metric, values, expected = CHOICES[case]
    set_recipe(run, "best_by: l1", f"best_by: {metric}")
    set_metrics(run, {n: {metric: values[n]} if n in values else {} for n in (8, 16, 24)})
    best = find_best_checkpoint(run)
    assert best.folder == run / "checkpoints" / f"{expected:09d}"
    assert best.value == values[expected]
    assert best.metric == metric
    link_best(run, metric, 1)
    assert os.readlink(LINKED) == f"checkpoints/{expected:09d}"
    checkpoint_ranking.prune(run / "checkpoints", 1, 1, metric, larger_is_better(metric))
    assert [f.name for f in checkpoint.list_checkpoints(run / "checkpoints")] == [
        f"{expected:09d}",
        "000000024",
    ]
    assert LINKED.is_dir()


def test_every_command_takes_the_best(run: Path, tmp_path: Path) -> None:
    set_metrics(run, {8: {"l1": 0.3}, 16: {"l1": 0.1}, 24: {"l1": 0.2}})
    best = gantrain.load(run, "cpu", best=True).identity
    assert best == gantrain.load(run / "checkpoints" / "000000016", "cpu").identity
    assert best != gantrain.load(run, "cpu").identity
    drawn = next(
        Path(os.environ["GANTRAIN_CACHE"]).glob("synthetic-*/validation-label10-photo-32x32")
    )
    words = [
        "evaluate",
        "runs/x",
        "--best",
        "--data",
        f"d={drawn}",
        "--metrics",
        "l1",
        "--device",
        "cpu",
    ]
    result = CliRunner().invoke(app, [*words, "--out", "found.json"])
    assert result.exit_code == 0, result.output
    assert "runs/x/checkpoints/000000016 is the best by l1 (0.1)" in result.output
    assert (
        json.loads(Path("found.json").read_text())[0]["checkpoint"]
        == "runs/x/checkpoints/000000016"
    )
    ids = tmp_path / "in" / "0.npy"
    ids.parent.mkdir()
    np.save(ids, np.zeros((32, 32), np.uint8))
    result = CliRunner().invoke(
        app, ["translate", "runs/x", str(ids), "--out", "out", "--best", "--device", "cpu"]
    )
    assert result.exit_code == 0, result.output
    assert "runs/x/checkpoints/000000016 is the best by l1 (0.1)" in result.output


def _keep_none(run: Path) -> Path:
    set_recipe(
        run, "checkpoint: {every: 8, keep: 9, best: 1}", "checkpoint: {every: 8, keep: 9, best: 0}"
    )
    return run


def _measure_nothing(run: Path) -> Path:
    set_metrics(run, {8: {}, 16: {}, 24: {"psnr": 10.0}})
    return run


REFUSED: dict[str, tuple[Any, str]] = {
    "no best one is kept": (
        _keep_none,
        r"^best: runs/x keeps no best checkpoint \(checkpoint.best is 0\); go on",
    ),
    "nothing was measured": (
        _measure_nothing,
        r"^best: no checkpoint of runs/x has a value of l1 \(evaluate",
    ),
    "one checkpoint": (
        lambda run: run / "checkpoints/000000016",
        r"^best: .*16 is a single checkpoint; give the ",
    ),
    "a file": (
        lambda run: run / "recipe.yaml",
        r"^best: runs/x/recipe.yaml is a file; give the folder of a run",
    ),
    "nothing": (lambda run: run / "nowhere", r"^checkpoint: found none at runs/x/nowhere"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_best_checkpoint_is_refused_in_a_line(run: Path, case: str) -> None:
    change, says = REFUSED[case]
    with pytest.raises(ValueError, match=says) as raised:
        gantrain.load(change(run), "cpu", best=True)
    assert "\n" not in str(raised.value)


def test_the_link_is_relative_and_a_run_can_be_moved(run: Path) -> None:
    expected = find_best_checkpoint(run).folder.name
    assert os.readlink(LINKED) == f"checkpoints/{expected}"
    shutil.move("runs/x", "moved")
    assert Path("moved", LINK).resolve() == Path("moved/checkpoints", expected).resolve()
    # Given by name it is used, and named by the checkpoint that it leads to.
    assert checkpoint.find_checkpoint(Path("moved", LINK)) == Path("moved/checkpoints", expected)


def _load_best(path: Path) -> object:
    return gantrain.load(path, "cpu", best=True)


@pytest.mark.parametrize(
    "use", [checkpoint.find_checkpoint, gantrain.load, _load_best, gantrain.evaluate]
)
def test_a_link_to_a_checkpoint_that_is_gone_is_named(
    run: Path, use: Callable[[Path], object]
) -> None:
    LINKED.unlink()
    LINKED.symlink_to("checkpoints/000000099")
    found = "^checkpoint: runs/x/best is a dangling link to checkpoints/000000099; "
    advice = "give runs/x, with --best for its best checkpoint, or one of runs/x/checkpoints$"
    with pytest.raises(ValueError, match=found + advice):
        use(LINKED)
    shutil.rmtree("runs/x/checkpoints")
    with pytest.raises(ValueError, match=f"{found}give runs/NAME, or one of its checkpoints$"):
        use(LINKED)


def test_the_link_is_no_checkpoint_of_the_run(run: Path) -> None:
    """A search for checkpoints and a deletion pass it by."""
    set_metrics(run, {8: {"l1": 0.1}, 16: {"l1": 0.2}, 24: {"l1": 0.3}})
    link_best(run, "l1", 1)
    assert checkpoint.find_checkpoint(run).name == "000000024"
    assert checkpoint_ranking.prune(run / "checkpoints", 1, 0, "l1", False) == []
    assert LINKED.is_symlink()
    link_best(run, "l1", 0)
    assert not os.path.lexists(LINKED)


@pytest.mark.parametrize("state", ["dangling", "of another checkpoint", "missing", "not wanted"])
@pytest.mark.parametrize("length", [24, pytest.param(32, marks=pytest.mark.slow)])
def test_a_resumed_run_has_a_whole_link(run: Path, state: str, length: int) -> None:
    """Also one that has nothing left to train."""
    set_metrics(run, {8: {"l1": 0.001}, 16: {"l1": 0.3}, 24: {"l1": 0.002}})
    LINKED.unlink()
    if state == "dangling":
        shutil.rmtree(run / "checkpoints" / "000000008")
        LINKED.symlink_to("checkpoints/000000008")
    elif state == "of another checkpoint":
        LINKED.symlink_to("checkpoints/000000016")
    wanted = 0 if state == "not wanted" else 1
    words = [word for word in RUN if not word.startswith(("length", "checkpoint.best"))]
    assert run_here(*words, f"length={length}", f"checkpoint.best={wanted}") == "finished"
    if wanted == 0 and length > 24:  # a finished run keeps the rule that it was trained with
        assert not os.path.lexists(LINKED)
    else:
        assert LINKED.resolve() == find_best_checkpoint(run).folder.resolve()


def test_the_link_is_whole_before_anything_is_deleted(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The metric of the resumed run is another one, and its best checkpoint, too."""
    set_metrics(
        run,
        {8: {"l1": 0.1, "psnr": 1.0}, 16: {"l1": 0.2, "psnr": 9.0}, 24: {"l1": 0.3, "psnr": 2.0}},
    )
    link_best(run, "l1", 1)
    seen = []
    prune = checkpoint_ranking.prune

    def watched(*arguments: Any, **options: Any) -> list[Path]:
        seen.append(os.readlink(LINKED))
        damaged = prune(*arguments, **options)
        assert LINKED.is_dir(), "it leads nowhere"
        return damaged

    monkeypatch.setattr(checkpoint_ranking, "prune", watched)
    words = [word for word in RUN if not word.startswith(("length", "checkpoint.keep"))]
    run_here(*words, "length=32", "evaluate.best_by=psnr", "checkpoint.keep=1")
    assert seen[0] == "checkpoints/000000016"
    assert len(seen) == 2


def test_a_file_system_without_links_has_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "symlink", refuse)
    assert run_here(*RUN, "length=16") == "finished"
    assert not os.path.lexists(LINKED)
    lines = [line for line in capsys.readouterr().out.splitlines() if "runs/x/best" in line]
    assert lines == [
        "checkpoint: runs/x/best cannot be made here (Operation not permitted); `--best` finds the best checkpoint "
        "without it"
    ]
    assert not list(Path("runs/x").glob(".*.partial"))
    assert find_best_checkpoint("runs/x").folder.is_dir()


def test_a_damaged_checkpoint_is_named_and_not_compared(run: Path) -> None:
    set_metrics(run, {8: {"l1": 0.2}, 16: {"l1": 0.1}, 24: {"l1": 0.3}})
    (run / "checkpoints/000000016/state.json").write_text("{")
    best = find_best_checkpoint(run)
    assert best.line() == (
        "checkpoint: runs/x/checkpoints/000000008 is the best by l1 (0.2); damaged, and not compared: 000000016"
    )


@pytest.mark.slow
def test_stages_share_a_link() -> None:
    stages = "stages=[{length: 16}, {length: 16, evaluate: {best_by: psnr}}]"
    words = [word for word in RUN if not word.startswith("length")]
    assert run_here(*words, stages) == "finished"
    best = find_best_checkpoint("runs/x")
    assert best.metric == "psnr"  # the present stage's, by which checkpoints are deleted, too
    assert LINKED.resolve() == best.folder.resolve()


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir], ids=["file", "folder"])
def test_what_is_no_link_stays(run: Path, make: Any) -> None:
    LINKED.unlink()
    make(LINKED)
    assert link_best(run, "l1", 1) == "runs/x/best is not a link, and stays as it is"
    assert link_best(run, "l1", 0)
    assert LINKED.exists()


def test_what_a_killed_writer_of_links_left_is_removed(tmp_path: Path) -> None:
    partial = tmp_path / f".{'0' * 16}.partial"
    (tmp_path / "checkpoint").mkdir()
    partial.symlink_to("checkpoint")
    clean(tmp_path)
    assert not os.path.lexists(partial)
    assert (tmp_path / "checkpoint").is_dir()

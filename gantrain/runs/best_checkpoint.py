"""Finds the best checkpoint of a run, and keeps the link `runs/NAME/best` to it."""

import os
from pathlib import Path
from typing import NamedTuple

from gantrain.core import files, formats
from gantrain.core.error_messages import check
from gantrain.core.errors import UserError
from gantrain.core.paths import check_not_special
from gantrain.core.wording import option, option_with
from gantrain.core.yaml12 import read_mapping
from gantrain.metrics.registry import larger_is_better
from gantrain.recipe.sections import Checkpoint, Evaluate
from gantrain.runs import checkpoint, checkpoint_ranking

LINK = "best"


class BestCheckpoint(NamedTuple):
    """The best checkpoint of a run by a metric.

    damaged: checkpoints that could not be compared.
    """

    folder: Path
    metric: str
    value: float
    damaged: list[Path]

    def line(self) -> str:
        """Return a line that names the checkpoint and its value."""
        text = f"checkpoint: {self.folder} is the best by {self.metric} ({self.value:.4g})"
        if self.damaged:
            names = ", ".join(folder.name for folder in self.damaged)
            text += f"; damaged, and not compared: {names}"
        return text


def best_of(checkpoints: Path, metric: str) -> BestCheckpoint | None:
    """Return the checkpoint with the best value of the metric, the later one of equal ones.

    Returns None where none has a value.
    """
    scores, damaged = checkpoint_ranking.read_scores(checkpoints, metric)
    for folder in checkpoint_ranking.rank(scores, larger_is_better(metric)):
        value = scores[folder]
        assert value is not None
        return BestCheckpoint(folder, metric, value, damaged)
    return None


def find_best_checkpoint(path: str | Path) -> BestCheckpoint:
    """Return the best checkpoint of a run by `evaluate.best_by`.

    The metrics stand in the `state.json` files. path: the run's folder. Raises UserError, in one
    line, for anything else, for a run that keeps no best checkpoint (`checkpoint.best=0`), and
    where no checkpoint has a value of the metric.
    """
    run = Path(path)
    checkpoint.check_link(run)
    check_not_special(run, "checkpoint")
    if run.is_file() or (run / "state.json").is_file():
        what = "a file" if run.is_file() else "a single checkpoint"
        advice = f"give the folder of a run, runs/NAME, or leave {option_with('best')} out"
        raise UserError(f"{option('best')}: {run} is {what}; {advice}")
    checkpoints = run / "checkpoints"
    latest = checkpoint.find_checkpoint(run)
    evaluate, keeping = saved_settings(run, latest)
    instead = f"leave {option_with('best')} out for the latest checkpoint"
    if keeping.best == 0:
        advice = f"go on with checkpoint.best=1 and a larger length, or {instead}"
        raise UserError(
            f"{option('best')}: {run} keeps no best checkpoint (checkpoint.best is 0); {advice}"
        )
    best = best_of(checkpoints, evaluate.best_by)
    if best is None:
        problem = f"no checkpoint of {run} has a value of {evaluate.best_by} (evaluate.best_by)"
        raise UserError(
            f"{option('best')}: {problem}; give the run held-out data by data.validation, or"
            f" {instead}"
        )
    return best


def link_best(run: Path, metric: str, count: int) -> str:
    """Point the link `best` in a run's folder to its best checkpoint.

    The link is removed where there is none. count: the recipe's `checkpoint.best`. The new link
    takes the place of the old one at once, and is relative, so that the run can be moved. A file or
    a folder of that name stays. Returns why there is no link, or an empty text.
    """
    link = run / LINK
    if os.path.lexists(link) and not link.is_symlink():
        return f"{link} is not a link, and stays as it is"
    best = best_of(run / "checkpoints", metric) if count else None
    try:
        if best is None:
            link.unlink(missing_ok=True)
            return ""
        target = os.path.join("checkpoints", best.folder.name)
        if link.is_symlink() and os.readlink(link) == target:
            return ""
        with files.replacing(link) as partial:
            os.symlink(target, partial, target_is_directory=True)
    except OSError as e:
        return f"{link} cannot be made here ({e.strerror})"
    return ""


def saved_settings(run: Path, latest: Path) -> tuple[Evaluate, Checkpoint]:
    """Return the sections `evaluate` and `checkpoint` of the run's recipe.

    For a run in stages, they are those of its last stage. Raises UserError.
    """
    path = run / "recipe.yaml"
    content: dict[str, object] | None = None
    if path.is_file():
        content = read_mapping(path)
        formats.check_format(
            path,
            content,
            formats.RUN,
            f"give one of the run's checkpoints, without {option_with('best')}",
        )
    if content is None or content.get("stages"):
        content = checkpoint.saved_recipe(latest)
        path = latest / "recipe.yaml"
    if not isinstance(content, dict):
        raise UserError(
            f"{path}: found no mapping; give one of the run's checkpoints, without"
            f" {option_with('best')}"
        )
    evaluate = check(Evaluate, content.get("evaluate", {}), f"{path}: evaluate.")
    keeping = check(Checkpoint, content.get("checkpoint", {}), f"{path}: checkpoint.")
    return evaluate, keeping

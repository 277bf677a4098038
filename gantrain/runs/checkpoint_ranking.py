"""The ranking of a run's checkpoints by a metric, and the removal of those that are not kept."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from gantrain.runs.checkpoint import list_checkpoints, read_state


def read_scores(root: Path, metric: str) -> tuple[dict[Path, float | None], list[Path]]:
    """Return the value of a metric by whole checkpoint, the oldest first.

    Returns those whose state can't be read as well.
    """
    scores: dict[Path, float | None] = {}
    damaged: list[Path] = []
    for folder in list_checkpoints(root):
        try:
            scores[folder] = read_state(folder).metrics.get(metric)
        except ValueError:
            damaged.append(folder)
    return scores, damaged


def rank(scores: Mapping[Path, float | None], largest: bool) -> list[Path]:
    """Return the checkpoints that have a score, the best first; of equal ones the later first.

    scores: the oldest first. largest: the largest score is the best, else the smallest.
    """
    scored = [(score, folder) for folder, score in scores.items() if score is not None]
    scored.reverse()
    scored.sort(key=lambda pair: pair[0], reverse=largest)  # stable
    return [folder for _, folder in scored]


def prune(root: Path, keep: int, best: int, metric: str, largest: bool) -> list[Path]:
    """Delete all but the last `keep` checkpoints and the `best` ones by a metric of their state.

    Returns those whose state can't be read. They don't count, and stay, since they may be of use to
    somebody.
    """
    scores, damaged = read_scores(root, metric)
    last_ones = list(scores)[-keep:]
    best_ones = rank(scores, largest)[:best]
    for folder in scores:
        if folder not in last_ones and folder not in best_ones:
            # Without state.json it is no checkpoint, even if the deletion is cut short.
            (folder / "state.json").unlink()
            shutil.rmtree(folder, ignore_errors=True)
    return damaged

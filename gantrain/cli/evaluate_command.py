"""The work of `gantrain evaluate`: its options checked, then a model, several models or two
folders measured.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gantrain.core.console import console
from gantrain.core.named_values import named_values
from gantrain.core.world import World
from gantrain.evaluation import comparison, evaluate
from gantrain.evaluation.set_names import name_targets, name_test_sets
from gantrain.training.launcher import exit_with_parent


def run_evaluate(
    checkpoints: Sequence[Path],
    *,
    data: list[str] | None,
    data_target: list[str] | None,
    best: bool,
    real: Path | None,
    fake: Path | None,
    metrics: str | None,
    weights: list[str] | None,
    crop_border: int | None,
    out: Path | None,
    device: str,
) -> int:
    """Measure and print; returns the exit status. The arguments are the command's. Raises
    ValueError.
    """
    are_folders = real is not None and fake is not None
    is_one_folder = (real is None) != (fake is None)
    if (
        bool(checkpoints) == are_folders
        or is_one_folder
        or (are_folders and (data or data_target or best))
    ):
        raise ValueError("give a checkpoint [--data FOLDER], or --real FOLDER and --fake FOLDER")
    options: dict[str, Any] = {} if crop_border is None else {"crop_border": crop_border}
    if weights:
        options["weights"] = named_values("--weights", weights)
    if metrics is not None:
        options["metrics"] = evaluate.names(metrics)
    evaluate.check_out(out)
    tested = name_test_sets(data)
    targets = name_targets(data_target, list(tested))
    exit_with_parent()
    with World(device) as world:
        if len(checkpoints) > 1:
            return comparison.compare_runs(world, checkpoints, tested, options, targets, out, best)
        if checkpoints:
            results, about = evaluate.evaluate_checkpoint(
                world, checkpoints[0], tested, options, targets, best
            )
        else:
            assert real
            assert fake
            results, about = evaluate.evaluate_folders(world, real, fake, options)
        if world.is_main:
            console.print(evaluate.table(results))
            if out:
                evaluate.write_json(out, results, about)
    return 0

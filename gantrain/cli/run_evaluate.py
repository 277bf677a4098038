"""The work of `gantrain evaluate`.

It checks the options, and measures one model, several models or two folders.
"""

from collections.abc import Sequence
from pathlib import Path

from gantrain.core.console import console
from gantrain.core.errors import UserError
from gantrain.core.named_values import named_values
from gantrain.core.world import World
from gantrain.data.ranges import Range, parse_range
from gantrain.evaluation import comparison, evaluate, evaluate_folders, evaluate_options
from gantrain.evaluation.evaluate_results import table, write_json
from gantrain.evaluation.set_names import name_targets, name_test_sets
from gantrain.training.launcher import exit_with_parent


def run_evaluate(  # noqa: PLR0913 (the command's options)
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
    values_range: str | None,
    out: Path | None,
    device: str,
) -> int:
    """Measure, print the results, and return the exit status.

    The arguments are those of the command. Raises UserError.
    """
    are_folders = real is not None and fake is not None
    is_one_folder = (real is None) != (fake is None)
    has_other_data = bool(data or data_target or best)
    if bool(checkpoints) == are_folders or is_one_folder or (are_folders and has_other_data):
        raise UserError("give a checkpoint [--data FOLDER], or --real FOLDER and --fake FOLDER")
    _check_choice(checkpoints, values_range, are_folders=are_folders)
    options: dict[str, object] = {} if crop_border is None else {"crop_border": crop_border}
    if weights:
        options["weights"] = named_values("--weights", weights)
    if metrics is not None:
        options["metrics"] = evaluate_options.metric_names(metrics)
    evaluate_options.check_out(out)
    tested = name_test_sets(data)
    targets = name_targets(data_target, list(tested))
    exit_with_parent()
    with World(device) as world:
        if len(checkpoints) > 1:
            return comparison.compare_runs(
                world, checkpoints, tested, options, targets=targets, best=best, out=out
            )
        if checkpoints:
            results, about = evaluate.evaluate_checkpoint(
                world, checkpoints[0], tested, options, targets=targets, best=best
            )
        else:
            assert real
            assert fake
            results, about = evaluate_folders.evaluate_folders(
                world, real, fake, options, values_range=_parse_range(values_range)
            )
        if world.is_main:
            console.print(table(results))
            if out:
                write_json(out, results, about)
    return 0


def _check_choice(
    checkpoints: Sequence[Path], values_range: str | None, *, are_folders: bool
) -> None:
    """Refuse options and arguments that do not belong together. Raises UserError."""
    if values_range is not None and not are_folders:
        raise UserError("--range: found with a run, allowed: with --real and --fake")
    for path in checkpoints:
        if "=" in path.name and not path.exists():
            raise UserError(
                f"found {path}, allowed: runs and checkpoints; a recipe's keys have no place here,"
                " and --data FOLDER names other data"
            )


def _parse_range(text: str | None) -> Range | None:
    """Return the value of `--range`. Raises UserError."""
    if text is None:
        return None
    try:
        return parse_range(text)
    except UserError as error:
        raise UserError(f"--range: {error}") from None

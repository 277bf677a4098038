"""Reports what has no effect when a finished run is started again with other settings."""

import shlex
from collections.abc import Callable
from pathlib import Path

from gantrain.recipe.differences import differences
from gantrain.recipe.schema import Recipe
from gantrain.runs.best_checkpoint import saved_settings
from gantrain.runs.run_folder import Run

# Keys that do not concern the training.
_NOT_REPORTED = ("name", "description", "run", "length", "dry_run")


def report_finished(run: Run, recipe: Recipe, latest: Path, say: Callable[[str], None]) -> Recipe:
    """Report the changed keys of a finished run in a line.

    The function also renews the link to the run's best checkpoint. The best checkpoint is chosen by
    the settings that the run was trained with, as `--best` does. Returns the recipe with those
    settings.
    """
    changes: list[str] = []
    if run.recipe.is_file():
        changes = differences(run.saved_recipe(), recipe.dump(), _NOT_REPORTED)
    if changes:
        keys = ", ".join(change.partition(":")[0] for change in changes)
        command = f"gantrain evaluate {shlex.quote(str(recipe.folder))}"
        advice = (
            f"a larger length=... trains on with the changes, `{command}` measures the run as it is"
        )
        say(f"no effect, since the run is finished: {keys}; {advice}")
    evaluate, checkpoint = saved_settings(recipe.folder, latest)
    run.link_best(evaluate.best_by, checkpoint.best)
    return recipe.model_copy(update={"evaluate": evaluate, "checkpoint": checkpoint})

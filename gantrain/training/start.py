"""Start a run, or go on with it: the stages of a recipe, one after another."""

from dataclasses import dataclass
from pathlib import Path

from gantrain.core.component import used_classes
from gantrain.core.extensions import INTERACTIVE, check_not_importing, modules_to_record
from gantrain.core.world import World
from gantrain.evaluation.held_out_choice import HeldOutChoice, choose_held_out
from gantrain.methods import METHODS
from gantrain.recipe.schema import Recipe, stages
from gantrain.runs.metric_rows import last_metrics
from gantrain.runs.recipe_request import Change, Source, request_recipe
from gantrain.runs.trackers import check_trackers
from gantrain.training.determinism import algorithms
from gantrain.training.launcher import agree_with_launcher, check_ranks, exit_with_parent
from gantrain.training.setup import RunSetup
from gantrain.training.setup_description import describe_costs, describe_setup
from gantrain.training.stage import Stage
from gantrain.training.train_arguments import check_call
from gantrain.training.trial import try_method


@dataclass(frozen=True)
class TrainResult:
    """The result of a call of `train`.

    Attributes:
        folder: The folder `runs/NAME`, relative to the working folder.
        state: `finished`, `unfinished` (stopped by a signal) or `dry run`.
        images_seen: The number of images that the whole run has seen so far.
        metrics: The last metrics of the run by name. It is empty if the run has measured nothing.
    """

    folder: Path
    state: str
    images_seen: int
    metrics: dict[str, float]

    def __repr__(self) -> str:
        metrics = "".join(f", {name} {value:.4g}" for name, value in self.metrics.items())
        return (
            f"TrainResult({self.folder}: {self.state}, {self.images_seen:,} images seen{metrics})"
        )


def train(recipe: Source | None = None, *overrides: Change, **keywords: object) -> TrainResult:
    """Start the run of a recipe, or continue it.

    It works in one process, also several times and after an error, and in each process of a
    launcher. Changes are no keyword arguments, and keywords raise an error that shows how to write
    them.

    Args:
        recipe: A name, a path, a Recipe, or the content of a recipe as a dictionary, which may have
            `extends`.
        overrides: The changes, as texts `a.b.c=value` or as dictionaries, whose keys may be nested
            or dotted.

    Returns:
        The result of the run.

    Raises:
        UserError: The arguments, the recipe or the data have mistakes. The text has one line for
            each.
        RunStopped: Training cannot continue.
    """
    check_not_importing()
    source = check_call(recipe, overrides, keywords)
    requested = agree_with_launcher(request_recipe(source, overrides))
    check_trackers(requested)
    exit_with_parent()
    with algorithms(requested.deterministic), World(requested.device) as world:
        # In a frame of its own: its networks hold DDP, and DDP holds the ranks' group.
        return _train(requested, world)


def _check(stage_recipes: list[Recipe], world: World, choice: HeldOutChoice) -> list[str]:
    """Check all stages, so that a mistake in the last one is reported before the first one trains.

    Returns the lines that describe a dry run. Raises UserError.
    """
    stage_start = 0
    lines: list[str] = []
    for number, recipe in enumerate(stage_recipes):
        try:
            setup = RunSetup(recipe, world, stage_start, choice)
            try_method(setup)
        except ValueError as e:
            if len(stage_recipes) > 1:  # in the error itself, whose traceback says who raised it
                e.args = ("\n".join(f"stages.{number}: {line}" for line in str(e).splitlines()),)
            raise
        if recipe.dry_run:
            lines += describe_setup(setup)
            lines += describe_costs(setup)
        stage_start = setup.end
    return lines


def _train(recipe: Recipe, world: World) -> TrainResult:
    check_ranks(world, recipe)
    choice = choose_held_out(recipe, world)
    recipe = choice.recipe
    stage_recipes = stages(recipe)
    lines: list[str] = []
    if recipe.dry_run or len(stage_recipes) > 1:
        lines = _check(stage_recipes, world, choice)
    if recipe.dry_run:
        # The settings come once nothing is wrong: a mistake below them would be overlooked.
        world.say_whole(recipe.yaml())
        for line in lines:
            world.say(line)
        return TrainResult(recipe.folder, "dry run", 0, {})
    _warn_of_interactive_classes(stage_recipes, world)
    stage_start = 0
    state = "finished"
    images_seen = 0
    for number, stage_recipe in enumerate(stage_recipes, 1):
        setup = RunSetup(stage_recipe, world, stage_start, choice)
        state, images_seen = _train_stage(setup, recipe, number)
        if state != "finished":
            break
        stage_start = setup.end
        world.accelerator.free_memory()  # which keeps DDP's modules
    metrics = world.broadcast_from_rank0(lambda: last_metrics(recipe.folder / "metrics.jsonl"))
    return TrainResult(recipe.folder, state, images_seen, metrics)


def _train_stage(setup: RunSetup, recipe: Recipe, number: int) -> tuple[str, int]:
    """Train one stage; return the state and the images seen.

    The trainer and its networks are gone when the function returns.
    """
    stage = Stage(setup, recipe, number)
    state = stage.train()
    return state, stage.images_seen


def _warn_of_interactive_classes(stage_recipes: list[Recipe], world: World) -> None:
    """Warn that later processes cannot import the classes of a notebook."""
    for stage in stage_recipes:
        if INTERACTIVE in modules_to_record(used_classes(METHODS, stage.method)):
            world.say(
                "warning: the recipe uses classes that were defined in a notebook or an interactive"
                " session; put them into a file, such as mine.py, and `import mine`: other"
                " processes, such as `gantrain translate --import mine`, can import only a file"
            )
            return

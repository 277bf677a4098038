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
from gantrain.training.launcher import agree_with_launcher, check_ranks, exit_with_parent
from gantrain.training.setup import Assembly
from gantrain.training.train_arguments import check_call
from gantrain.training.trainer import Trainer
from gantrain.training.trial import try_method


@dataclass(frozen=True)
class TrainResult:
    """What became of a run.

    folder: runs/NAME, from the working folder. state: `finished`, `unfinished` (stopped by a
    signal) or `dry run`. images_seen: by the whole run so far. metrics: the run's last ones by
    name, empty where it has measured nothing."""

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
    """Start the run of a recipe, or go on with it.

    recipe: a name, a path, a Recipe, or a recipe's content as a dictionary, which may have
    `extends`. overrides: what differs, as texts `a.b.c=value` or as dictionaries, whose keys may be
    nested or dotted. Changes are no keyword arguments, and keywords raise an error that shows how
    to write them. Works in one process, also several times and after an error, and in each process
    of a launcher. Raises ValueError, one line for each problem, and RunStopped where training can't
    go on."""
    check_not_importing()
    source = check_call(recipe, overrides, keywords)
    asked = agree_with_launcher(request_recipe(source, overrides))
    check_trackers(asked)
    exit_with_parent()
    with World(asked.device) as world:
        return _train(
            asked, world
        )  # in a frame of its own: its networks hold DDP, and that the ranks' group


def _check(several: list[Recipe], world: World, choice: HeldOutChoice) -> list[str]:
    """Check all stages, so that a mistake in the last one is reported before the first one trains.

    Returns the lines that describe a dry run. Raises ValueError.
    """
    began = 0
    lines: list[str] = []
    for number, stage in enumerate(several):
        try:
            parts = Assembly(stage, world, began, choice)
            try_method(parts)
        except ValueError as e:
            if len(several) > 1:  # in the error itself, whose traceback says who raised it
                e.args = ("\n".join(f"stages.{number}: {line}" for line in str(e).splitlines()),)
            raise
        if stage.dry_run:
            lines += [*parts.describe(), *parts.describe_costs()]
        began = parts.end
    return lines


def _train(recipe: Recipe, world: World) -> TrainResult:
    check_ranks(world, recipe)
    choice = choose_held_out(recipe, world)
    recipe = choice.recipe
    several = stages(recipe)
    lines = _check(several, world, choice) if recipe.dry_run or len(several) > 1 else []
    if (
        recipe.dry_run
    ):  # the settings come once nothing is wrong: a mistake below them would be overlooked
        world.say_whole(recipe.yaml())
        for line in lines:
            world.say(line)
        return TrainResult(recipe.folder, "dry run", 0, {})
    _warn_of_interactive_classes(several, world)
    began = 0
    state = "finished"
    images_seen = 0
    for number, stage in enumerate(several, 1):
        parts = Assembly(stage, world, began, choice)
        state, images_seen = _train_stage(parts, recipe, number)
        if state != "finished":
            break
        began = parts.end
        world.accelerator.free_memory()  # which keeps DDP's modules
    metrics = world.broadcast_from_rank0(lambda: last_metrics(recipe.folder / "metrics.jsonl"))
    return TrainResult(recipe.folder, state, images_seen, metrics)


def _train_stage(parts: Assembly, recipe: Recipe, number: int) -> tuple[str, int]:
    """The state and the images seen; the trainer and its networks are gone when it returns."""
    trainer = Trainer(parts, recipe, number)
    return trainer.train(), trainer.images_seen


def _warn_of_interactive_classes(several: list[Recipe], world: World) -> None:
    """Say that later processes can't import the classes of a notebook."""
    for stage in several:
        if INTERACTIVE in modules_to_record(used_classes(METHODS, stage.method)):
            world.say(
                "warning: the recipe uses classes that were defined in a notebook or an interactive"
                " session; put them into a file, such as mine.py, and `import mine`: other"
                " processes, such as `gantrain translate --import mine`, can import only a file"
            )
            return

"""Training from Python."""

from gantrain import overrides as changes
from gantrain import recipe as recipes
from gantrain.assembly import Assembly
from gantrain.component import text_keys
from gantrain.held_out_choice import HeldOutChoice, choose_held_out
from gantrain.launcher import agree_with_launcher, check_ranks, die_with_launcher
from gantrain.recipe import Recipe, stages
from gantrain.tracking import check_trackers
from gantrain.trainer import Trainer
from gantrain.world import World


def train(recipe: str | Recipe, *overrides: str) -> str:
    """Start the run of a recipe (a name, a path or a Recipe), or go on with it.

    overrides: `a.b.c=value`. Works in one process and in each process of a launcher. Returns
    `finished`, `unfinished` (stopped by a signal) or `dry run`. Raises ValueError, one line for
    each problem, and RunStopped where training can't go on.
    """
    if isinstance(recipe, Recipe):
        recipe = recipes.from_dict(changes.apply(recipe.dump(), overrides, set(text_keys(Recipe))))
    else:
        recipe = recipes.load(recipe, overrides)
    recipe = agree_with_launcher(recipe)
    check_trackers(recipe.trackers)
    die_with_launcher()
    with World(recipe.device, [] if recipe.dry_run else recipe.trackers, str(recipe.folder)) as world:
        return _train(recipe, world)  # in a frame of its own: its networks hold DDP, and that the ranks' group


def _check(several: list[Recipe], world: World, choice: HeldOutChoice) -> None:
    """A mistake in the last stage is told before the first one trains; a dry run is described."""
    began = 0
    for number, stage in enumerate(several):
        try:
            parts = Assembly(stage, world, began, choice)
        except ValueError as e:
            if len(several) > 1:  # in the error itself, whose traceback says who raised it
                e.args = ("\n".join(f"stages.{number}: {line}" for line in str(e).splitlines()),)
            raise
        for line in [*parts.describe(), *parts.describe_costs()] if stage.dry_run else []:
            world.say(line)
        began = parts.end


def _train(recipe: Recipe, world: World) -> str:
    check_ranks(world, recipe)
    choice = choose_held_out(recipe, world)
    recipe = choice.recipe
    if recipe.dry_run:
        world.say_whole(recipe.yaml())
    several = stages(recipe)
    if recipe.dry_run or len(several) > 1:
        _check(several, world, choice)
    if recipe.dry_run:
        return "dry run"
    began = 0
    for number, stage in enumerate(several, 1):
        parts = Assembly(stage, world, began, choice)
        if (state := Trainer(parts, recipe, number).train()) != "finished":
            return state
        began = parts.end
        world.accelerator.free_memory()  # which keeps DDP's modules
    return "finished"

"""The data that a recipe asks for, opened on every rank, and the view of a sample that the networks get."""

from pathlib import Path

from gantrain.data import sets
from gantrain.data.shards import Field, Shards
from gantrain.data.transforms import View
from gantrain.data.unpaired import DataSet, Unpaired
from gantrain.recipe import Recipe
from gantrain.world import World


def view(recipe: Recipe, fields: dict[str, Field], *, training: bool) -> View:
    """How samples become what the networks see; `fields` by role."""
    data, names = recipe.data, wanted_by(recipe).names
    labels = frozenset(name for role, name in names.items() if fields[role].kind != "image")
    flip, jitter = (data.flip, data.jitter) if training else (False, 0.0)
    return View(tuple(names.values()), labels, data.size, data.resize, flip, jitter)


def wanted_by(recipe: Recipe) -> sets.Wanted:
    """Collect what the recipe asks of its data."""
    data, names, apart = recipe.data, (recipe.data.source, recipe.data.target), None
    if data.unpaired:
        apart = sets.Apart(*names, data.train_target, data.validation_target)
        names = ("source", "target")  # a sample's; the sets' own may be the same
    return sets.Wanted(
        recipe.name,
        *names,
        data.labels,
        data.size,
        data.resize,
        data.cache_gib,
        apart,
        data.instances,
        max_left_out=data.max_left_out,
    )


def open_on_nodes(world: World, key: str, value: str | None, wanted: sets.Wanted) -> DataSet:
    """The data set on every rank, made by one of each node where it has to be made. Raises ValueError."""

    made: list[Shards] = []  # kept open until this rank has opened them again, so that no other run removes them

    def folders() -> list[Path]:
        made.extend(sets.open_sides(key, value, wanted))
        return [shards.folder for shards in made]

    opened = [Shards.open(folder, wanted.cache_gib) for folder in world.on_nodes(folders)]
    return Unpaired(opened, wanted.apart[:2]) if wanted.apart else opened[0]

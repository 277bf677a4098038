"""The data that a recipe asks for, opened on every rank, and the view of a sample that the
networks get.
"""

from dataclasses import dataclass
from pathlib import Path

from gantrain.core.world import World
from gantrain.data import field_checks, open_dataset
from gantrain.data.request import DataRequest, UnpairedRequest
from gantrain.data.shards import Field, Shards
from gantrain.data.splits import SYNTHETIC
from gantrain.data.transforms import SampleTransform
from gantrain.data.unpaired import DataSet, Unpaired
from gantrain.recipe.schema import Recipe

_WITHOUT = "; data.validation=null trains without"


def sample_transform(
    recipe: Recipe, fields: dict[str, Field], *, training: bool
) -> SampleTransform:
    """How samples become what the networks see; `fields` by role."""
    data, names = recipe.data, data_request(recipe).names
    labels = frozenset(name for role, name in names.items() if fields[role].kind != "image")
    flip, color_jitter = (data.flip, data.color_jitter) if training else (False, 0.0)
    return SampleTransform(
        tuple(names.values()), labels, data.size, data.resize, flip, color_jitter
    )


def data_request(recipe: Recipe) -> DataRequest:
    """Collect what the recipe asks of its data."""
    data, names, apart = recipe.data, (recipe.data.source, recipe.data.target), None
    if data.unpaired:
        apart = UnpairedRequest(*names, data.train_target, data.validation_target, data.test_target)
        names = ("source", "target")  # a sample's; the sets' own may be the same
    return DataRequest(
        recipe.name,
        *names,
        data.labels,
        data.size,
        data.resize,
        data.cache_gib,
        apart,
        data.instances,
        max_left_out=data.max_left_out,
        # A dry run reads no sample; the number of shards is known only once they are written.
        needs_samples=not recipe.dry_run or data.partitions > 1,
    )


def open_once_per_node(world: World, key: str, value: str | None, wanted: DataRequest) -> DataSet:
    """The data set on every rank, made by one of each node where it has to be made. Raises
    ValueError.
    """

    made: list[
        Shards
    ] = []  # kept open until this rank has opened them again, so that no other run removes them

    def places() -> list[Path | Shards]:
        made.extend(open_dataset.open_domains(key, value, wanted))
        return [shards.folder if shards.has_samples else shards for shards in made]

    opened: list[Shards] = []
    for place in world.once_per_node(places):
        if isinstance(place, Path):
            place = Shards.open(place, wanted.cache_gib)
        opened.append(place)
    return Unpaired(opened, wanted.unpaired[:2]) if wanted.unpaired else opened[0]


@dataclass
class OpenedData:
    """The data sets of a run, opened.

    test: only where there is no held-out set. unusable_test: why a test set that no user named
    cannot be used, or None."""

    train: DataSet
    held_out: DataSet | None
    test: DataSet | None
    unusable_test: str | None


def open_data(recipe: Recipe, world: World, is_automatic: bool = False) -> OpenedData:
    """The data sets of a recipe, made where they have to be. Every rank calls it.

    is_automatic: no user named the held-out set and the test set. Such a test set may be unusable.
    Raises ValueError with all problems at once."""
    data = recipe.data
    wanted = data_request(recipe)
    problems: list[str] = []
    unusable: dict[str, str] = {}

    def opened(key: str, value: str | None) -> DataSet | None:
        try:
            return open_once_per_node(world, key, value, wanted)
        except ValueError as e:
            texts = str(e).splitlines()
        if is_automatic and key == "test":
            unusable[key] = texts[0]
        elif is_automatic and key == "validation":
            problems.extend(
                text.removesuffix(_WITHOUT) + f"; data.validation=auto chose it{_WITHOUT}"
                for text in texts
            )
        else:
            problems.extend(texts)
        return None

    train = opened("train", data.train)
    # Where the training images cannot be drawn, the same is wrong with held-out ones, and has been
    # said.
    draws_neither = train is None and data.train == data.validation == SYNTHETIC
    held_out = (
        opened("validation", data.validation) if data.validation and not draws_neither else None
    )
    test = opened("test", data.test) if data.test and not data.validation else None
    world.raise_on_all_ranks(problems)
    assert train is not None
    result = OpenedData(train, held_out, test, unusable.get("test"))
    learnt = {name: train.fields[name] for name in wanted.names.values()}
    if held_out is not None:
        result.held_out = _as_learnt(learnt, held_out, "validation", world)
    if test is not None:
        result.test = _as_learnt(learnt, test, "test", world)
    return result


def _as_learnt(learnt: dict[str, Field], data: DataSet, key: str, world: World) -> DataSet:
    """A set in the channels of the training set. Raises ValueError where that is not possible."""
    converted, lines = field_checks.with_channels_of(learnt, data, f"data.{key}")
    for line in lines:
        world.say(line)
    field_checks.check_same_contents(learnt, converted.fields, f"data.{key}")
    return converted

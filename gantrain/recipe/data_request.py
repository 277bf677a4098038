"""Opens the data that a recipe asks for on every rank, and makes its transform of samples."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gantrain.core.errors import UserError
from gantrain.core.world import World
from gantrain.data import field_checks, open_dataset
from gantrain.data.kinds.table import KINDS
from gantrain.data.range_choice import ranges_by_field, with_chosen_ranges
from gantrain.data.request import FURTHER_SOURCE, DataRequest, InputRequest, UnpairedRequest
from gantrain.data.shards import Field, Shards
from gantrain.data.splits import SYNTHETIC
from gantrain.data.transforms import SampleTransform
from gantrain.data.unpaired import DataSet, Unpaired
from gantrain.methods import METHODS
from gantrain.methods.contract import inputs_of
from gantrain.recipe.made_fields import MASK, draws_masks, made_fields, source_maker
from gantrain.recipe.schema import Recipe

_WITHOUT = "; data.validation=null trains without"


def sample_transform(
    recipe: Recipe, fields: dict[str, Field], *, training: bool
) -> SampleTransform:
    """Return the transform of samples into what the networks see. fields: by role."""
    data = recipe.data
    names = data_request(recipe).names
    return SampleTransform(
        source_maker=source_maker(recipe, fields["target"]),
        kinds={name: KINDS[fields[role].kind] for role, name in names.items()},
        ranges=ranges_by_field(names, fields),
        size=data.size,
        resize=data.resize,
        flip=data.flip and training,
        color_jitter=data.color_jitter if training else 0.0,
        random_scale=data.random_scale if training else None,
        vertical_flip=data.vertical_flip and training,
        quarter_turns=data.quarter_turns and training,
        jittered=set(data.sources) if data.color_jitter_source_only else None,
    )


def data_request(recipe: Recipe) -> DataRequest:
    """Collect what the recipe asks of its data."""
    data = recipe.data
    source = data.sources[0] if data.sources else ""
    target = data.target
    unpaired = None
    if data.unpaired:
        unpaired = UnpairedRequest(
            source=source,
            target=data.target,
            train=data.train_target,
            validation=data.validation_target,
            test=data.test_target,
        )
        # The fields of a sample; those of the two sets may have one name.
        source = "source"
        target = "target"
    inputs = _requested_inputs(recipe)
    return DataRequest(
        recipe=recipe.name,
        source=source,
        target=target,
        labels=data.labels,
        size=data.size,
        resize=data.resize,
        cache_gib=data.cache_gib,
        unpaired=unpaired,
        inputs={**_further_sources(data.sources), **inputs},
        made_fields=made_fields(recipe),
        ranges=data.ranges,
        max_left_out=data.max_left_out,
        # A dry run reads no sample; the number of shards is known only once they are written.
        needs_samples=not recipe.dry_run or data.partitions > 1,
    )


def _further_sources(sources: list[str]) -> dict[str, InputRequest]:
    """Return the fields of the source behind its first one, as `source2` and so on."""
    return {
        f"{FURTHER_SOURCE}{number}": InputRequest(name, None)
        for number, name in enumerate(sources[1:], 2)
    }


def fields_by_role(recipe: Recipe, stored: Mapping[str, Field]) -> dict[str, Field]:
    """Return the fields of samples by role, with those that a degradation makes.

    stored: the fields of the training set, by name. Raises UserError.
    """
    request = data_request(recipe)
    known = dict(stored)
    maker = source_maker(recipe, stored[request.target])
    if maker is not None:
        known |= maker.fields
    return {role: known[name] for role, name in request.sample_names.items()}


def _requested_inputs(recipe: Recipe) -> dict[str, InputRequest]:
    """Return the inputs of the recipe's method that the recipe gives it, in the method's order.

    Raises UserError for a role that the method does not know, and where one is missing that it
    needs.
    """
    name = recipe.method["name"]
    known = inputs_of(METHODS[name])
    named = {role: field for role, field in recipe.data.inputs.items() if field is not None}
    problems: list[str] = []
    for role in named:
        if role not in known:
            allowed = ", ".join(known) or "none"
            problems.append(f"data.inputs.{role}: {name} takes no such input, allowed: {allowed}")
    requested: dict[str, InputRequest] = {}
    for role, taken in known.items():
        is_drawn = role == MASK and draws_masks(recipe)
        if role in named and is_drawn:
            problems.append(
                f"data.inputs.{role}: found {named[role]}, allowed: null, since data.degrade draws"
                " the masks"
            )
        elif role in named:
            requested[role] = InputRequest(named[role], taken.kind)
        elif taken.required and not is_drawn:
            content = KINDS[taken.kind].content
            problems.append(
                f"data.inputs.{role}: {name} needs it, found none; give the field that holds"
                f" {content}, as in data.inputs.{role}={role}"
            )
    if problems:
        raise UserError("\n".join(problems))
    return requested


def open_once_per_node(world: World, key: str, value: str | None, request: DataRequest) -> DataSet:
    """Return the data set on every rank; one rank of each node makes it where it does not exist.

    Raises UserError.
    """
    # These stay open until this rank has opened them again, so that no other run removes them.
    made: list[Shards] = []

    def places() -> list[Path | Shards]:
        made.extend(open_dataset.open_domains(key, value, request))
        return [shards.folder if shards.has_samples else shards for shards in made]

    opened: list[Shards] = []
    for place in world.once_per_node(places):
        if isinstance(place, Path):
            place = Shards.open(place, request.cache_gib)
        opened.append(place)
    return Unpaired(opened, request.unpaired[:2]) if request.unpaired else opened[0]


@dataclass
class OpenedData:
    """The data sets of a run, opened.

    test: only where there is no held-out set. unusable_test: why a test set that no user named
    cannot be used, or None.
    """

    train: DataSet
    held_out: DataSet | None
    test: DataSet | None
    unusable_test: str | None


def open_data(recipe: Recipe, world: World, is_automatic: bool = False) -> OpenedData:
    """Open the data sets of a recipe, and make those that do not exist. Every rank calls it.

    is_automatic: no user named the held-out set and the test set. Such a test set may be unusable.
    Raises UserError with all problems at once.
    """
    data = recipe.data
    request = data_request(recipe)
    problems: list[str] = []
    unusable: dict[str, str] = {}

    def opened(key: str, value: str | None) -> DataSet | None:
        try:
            data_set = open_once_per_node(world, key, value, request)
            return _with_ranges(data_set, request, world) if key == "train" else data_set
        except ValueError as e:
            texts = str(e).splitlines()
        if is_automatic and key == "test":
            unusable[key] = texts[0]
        elif is_automatic and key == "validation":
            for text in texts:
                reason = text.removesuffix(_WITHOUT)
                problems.append(f"{reason}; data.validation=auto chose it{_WITHOUT}")
        else:
            problems.extend(texts)
        return None

    train = opened("train", data.train)
    # Where the training images cannot be drawn, held-out ones would only repeat the message.
    draws_neither = train is None and data.train == data.validation == SYNTHETIC
    held_out: DataSet | None = None
    test: DataSet | None = None
    if data.validation and not draws_neither:
        held_out = opened("validation", data.validation)
    if data.test and not data.validation:
        test = opened("test", data.test)
    world.raise_on_all_ranks(problems)
    assert train is not None
    trained_fields = {name: train.fields[name] for name in request.names.values()}
    if held_out is not None:
        held_out = _as_learnt(trained_fields, held_out, "validation", world)
    if test is not None:
        test = _as_learnt(trained_fields, test, "test", world)
    return OpenedData(train, held_out, test, unusable.get("test"))


def _with_ranges(data: DataSet, request: DataRequest, world: World) -> DataSet:
    """Return the training set with the ranges of values that hold for the run."""
    chosen, lines = with_chosen_ranges(data, request)
    for line in lines:
        world.say(line)
    return chosen


def _as_learnt(fields: dict[str, Field], data: DataSet, key: str, world: World) -> DataSet:
    """Return a set with the channels and the ranges of values of the training set.

    fields: of the training set. Raises UserError where the channels cannot be converted.
    """
    converted, lines = field_checks.as_learnt(fields, data, f"data.{key}")
    for line in lines:
        world.say(line)
    field_checks.check_same_contents(fields, converted.fields, f"data.{key}")
    return converted

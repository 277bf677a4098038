"""Open a trained model and its test sets for `gantrain evaluate`, before anything is measured."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gantrain.core.errors import UserError
from gantrain.core.wording import option, option_with
from gantrain.core.world import World
from gantrain.data import field_checks
from gantrain.data.request import DataRequest
from gantrain.data.shards import Field
from gantrain.data.splits import describe_other_split
from gantrain.data.unpaired import DataSet
from gantrain.evaluation.evaluate_options import STANDARD, best_first
from gantrain.evaluation.held_out_choice import known_sets
from gantrain.inference.translator import Translator
from gantrain.recipe.data_request import data_request, open_once_per_node
from gantrain.recipe.schema import Recipe, from_dict
from gantrain.runs.best_checkpoint import find_best_checkpoint
from gantrain.runs.checkpoint import find_checkpoint

_HALVES = ("left", "right")  # of an image that holds a pair


@dataclass(frozen=True)
class Opened:
    """A trained model and the test sets on which it is measured; nothing is measured yet.

    recipe: the model's, with the evaluation's settings. sets: the test sets by name. training: the
    training set, where this machine has it.
    """

    folder: Path
    model: Translator
    recipe: Recipe
    sets: dict[str, DataSet]
    training: DataSet | None

    @property
    def contents(self) -> dict[str, str]:
        """The fingerprint of each test set."""
        return {name: shards.fingerprint for name, shards in self.sets.items()}


def open_checkpoint(
    world: World,
    path: Path,
    data: Mapping[str, str | None],
    options: Mapping[str, object],
    *,
    targets: Mapping[str, str] | None = None,
    best: bool = False,
) -> Opened:
    """Load a model and open its test sets. Every rank calls it, and all ranks raise a UserError.

    path: a run (its latest checkpoint, or its `best` one) or one checkpoint. data: test sets by
    name; none takes the recipe's `data.validation` and `data.test`. targets: the targets of
    unpaired test sets, by the sets' names. options: what differs from the recipe's `evaluate`;
    without metrics, the recipe's and STANDARD.
    """
    folder, model = _load(world, path, best)
    usual_sets = known_sets(model.recipe.data)
    if not data and not usual_sets:
        raise UserError(
            f"{option('data')}: the model's recipe has no held-out data; give"
            f" {option_with('data', 'FOLDER')}"
        )
    recipe = _recipe(model, options)
    request = data_request(recipe)
    if targets and not request.unpaired:
        raise UserError(
            f"{option('data_target')}: the model has learnt from pairs, whose targets lie in"
            f" {option('data')}; leave it out"
        )
    learnt = {field: model.fields[role] for role, field in request.names.items()}
    training = _open_training(world, recipe, request, learnt)
    if not data and "validation" not in usual_sets:
        world.say(
            f"data.test: {usual_sets['test']} is measured, since the recipe names no held-out data"
        )
    sets: dict[str, DataSet] = {}
    problems: list[str] = []
    for name, place in (data or usual_sets).items():  # all, before any is measured
        key = "validation" if data else name
        of_set = request
        if data:
            of_set = _request_for(request, name, place, (targets or {}).get(name))
        try:
            sets[name] = _open_as_learnt(world, key, place, request=of_set, learnt=learnt)
        except ValueError as e:
            problems += str(e).splitlines()
    if problems:
        raise UserError("\n".join(problems))
    return Opened(folder=folder, model=model, recipe=recipe, sets=sets, training=training)


def _recipe(model: Translator, options: Mapping[str, Any]) -> Recipe:
    """Return the model's recipe with the settings of the evaluation. Raises UserError."""
    usual = {**model.recipe.evaluate.model_dump(), "max_samples": None}
    usual["metrics"] = list(dict.fromkeys([*usual["metrics"], *STANDARD]))
    weights = {**usual["weights"], **options.get("weights", {})}
    changed = best_first({**usual, **options, "weights": weights})
    return from_dict({**model.recipe.dump(), "evaluate": changed})


def _open_training(
    world: World, recipe: Recipe, request: DataRequest, learnt: Mapping[str, Field]
) -> DataSet | None:
    """Open the training set as a model has learnt it; None where it is on another machine.

    Without it, null values come from halves of the test set.
    """
    try:
        training = open_once_per_node(world, "train", recipe.data.train, request)
    except ValueError:
        return None
    return field_checks.as_learnt(learnt, training)[0]


def _load(world: World, path: Path, best: bool) -> tuple[Path, Translator]:
    """Return the checkpoint's folder and its model. Raises UserError on every rank."""
    problems: list[str] = []
    loaded: list[tuple[Path, Translator]] = []
    try:
        folder = _choose_best(world, path) if best else find_checkpoint(path)
        loaded.append((folder, Translator(folder, world.device)))
    except ValueError as e:
        problems.append(str(e))
    world.raise_on_all_ranks(problems)
    return loaded[0]


def _choose_best(world: World, run: Path) -> Path:
    """Return the best checkpoint of a run, and name it in a line. Raises UserError."""
    chosen = find_best_checkpoint(run)
    world.say(chosen.line())
    return chosen.folder


def _request_for(
    request: DataRequest, name: str, source: str | None, target: str | None
) -> DataRequest:
    """Return the request for a test set that the user named.

    Its unpaired targets are not the recipe's.
    """
    unpaired = request.unpaired
    if unpaired:
        unpaired = unpaired._replace(
            source=_field_in(source, unpaired.source, request.labels),
            target=_field_in(target or source, unpaired.target, request.labels),
            validation=target,
        )
    return replace(request, test_set=name, unpaired=unpaired)


def _field_in(place: str | None, field: str, labels: Mapping[str, int]) -> str:
    """Return the field of an unpaired set: the recipe's, or `image` in a folder of single images.

    Such a folder has no field's name, and the training set of the model may have had another.
    """
    folder = Path(place or "").expanduser()
    is_data_set = (folder / "index.json").is_file() or (folder / field).is_dir()
    if not place or not folder.is_dir() or is_data_set or field in labels or field in _HALVES:
        return field
    return "image"


def _open_as_learnt(
    world: World,
    key: str,
    value: str | None,
    *,
    request: DataRequest,
    learnt: Mapping[str, Field],
) -> DataSet:
    """Open a test set in the channels and ranges that a model has learnt; print what is converted.

    Raises UserError.
    """
    option_name = request.option(key)
    shards = open_once_per_node(world, key, value, request)
    opened, lines = field_checks.as_learnt(learnt, shards, option_name)
    if request.is_for_evaluate and value is not None:
        lines += describe_other_split(value, option_name)
    for line in lines:
        world.say(line)
    field_checks.check_same_contents(learnt, opened.fields, option_name)
    return opened

"""A trained model and its test sets, opened for `gantrain evaluate` before anything is measured."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gantrain.core.wording import option, option_with
from gantrain.core.world import World
from gantrain.data import field_checks
from gantrain.data.request import DataRequest
from gantrain.data.shards import Field
from gantrain.data.splits import describe_other_split
from gantrain.data.unpaired import DataSet
from gantrain.evaluation.held_out_choice import known_sets
from gantrain.inference.translator import Translator
from gantrain.recipe.data_request import data_request, open_once_per_node
from gantrain.recipe.schema import Recipe, from_dict
from gantrain.runs.best_checkpoint import find_best_checkpoint
from gantrain.runs.checkpoint import find_checkpoint

# Together they see blur, noise, tint, wrong contrast and collapse, and need no weights.
STANDARD = ("fd_random0", "recall_random0", "swd", "spectrum", "histogram", "diversity")
_HALVES = ("left", "right")  # of an image that holds a pair


@dataclass(frozen=True)
class Opened:
    """A trained model and the test sets on which it is measured; nothing is measured yet.

    recipe: the model's, with the evaluation's settings. sets: by name. training: its training set,
    where that is here."""

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
    options: Mapping[str, Any],
    targets: Mapping[str, str] | None = None,
    best: bool = False,
) -> Opened:
    """Load a model and open its test sets. Every rank calls it, and a ValueError is raised on every
    rank.

    path: a run (its latest checkpoint, or its `best` one) or one checkpoint. data: test sets by
    name; none takes the recipe's `data.validation` and `data.test`. targets: the targets of
    unpaired test sets, by the sets' names. options: what differs from the recipe's `evaluate`;
    without metrics, the recipe's and STANDARD."""
    folder, model = _load(world, path, best)
    usual_sets = known_sets(model.recipe.data)
    if not data and not usual_sets:
        raise ValueError(
            f"{option('data')}: the model's recipe has no held-out data; give"
            f" {option_with('data', 'FOLDER')}"
        )
    usual = {**model.recipe.evaluate.model_dump(), "max_samples": None}
    usual["metrics"] = list(dict.fromkeys([*usual["metrics"], *STANDARD]))
    changed = {**usual, **options, "weights": {**usual["weights"], **options.get("weights", {})}}
    recipe = from_dict({**model.recipe.dump(), "evaluate": best_first(changed)})
    wanted = data_request(recipe)
    if targets and not wanted.unpaired:
        found = f"the model has learnt from pairs, whose targets lie in {option('data')}"
        raise ValueError(f"{option('data_target')}: {found}; leave it out")
    try:
        training = open_once_per_node(world, "train", recipe.data.train, wanted)
    except ValueError:  # it may be on another machine: null values come from halves of the test set
        training = None
    learnt = {field: model.fields[role] for role, field in wanted.names.items()}
    if not data and "validation" not in usual_sets:
        world.say(
            f"data.test: {usual_sets['test']} is measured, since the recipe names no held-out data"
        )
    opened: dict[str, DataSet] = {}
    problems: list[str] = []
    for name, value in (data or usual_sets).items():  # all, before any is measured
        of_set = wanted
        if data:
            of_set = _wanted_of(wanted, name, value, (targets or {}).get(name))
        try:
            key = "validation" if data else name
            opened[name] = _open_as_learnt(world, key, value, of_set, learnt)
        except ValueError as e:
            problems += str(e).splitlines()
    if problems:
        raise ValueError("\n".join(problems))
    return Opened(folder, model, recipe, opened, training)


def _load(world: World, path: Path, best: bool) -> tuple[Path, Translator]:
    """The checkpoint's folder and its model. Raises ValueError on every rank."""
    problems: list[str] = []
    loaded: list[tuple[Path, Translator]] = []
    try:
        folder = _choose(world, path) if best else find_checkpoint(path)
        loaded.append((folder, Translator(folder, world.device)))
    except ValueError as e:
        problems.append(str(e))
    world.raise_on_all_ranks(problems)
    return loaded[0]


def _choose(world: World, run: Path) -> Path:
    """The best checkpoint of a run, which a line names. Raises ValueError."""
    chosen = find_best_checkpoint(run)
    world.say(chosen.line())
    return chosen.folder


def _wanted_of(
    wanted: DataRequest, name: str, source: str | None, target: str | None
) -> DataRequest:
    """What is asked of a test set that the user named, whose unpaired targets are not the
    recipe's.
    """
    apart = wanted.unpaired
    if apart:
        apart = apart._replace(
            source=_field_in(source, apart.source, wanted.labels),
            target=_field_in(target or source, apart.target, wanted.labels),
            validation=target,
        )
    return replace(wanted, test_set=name, unpaired=apart)


def _field_in(place: str | None, field: str, labels: Mapping[str, int]) -> str:
    """The field of an unpaired set: that of the model's recipe, or `image` in a folder of single
    images.

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
    wanted: DataRequest,
    learnt: Mapping[str, Field],
) -> DataSet:
    """A test set in the channels that a model has learnt; says what is converted. Raises
    ValueError.
    """
    option = wanted.option(key)
    opened, lines = field_checks.with_channels_of(
        learnt, open_once_per_node(world, key, value, wanted), option
    )
    if wanted.is_for_evaluate and value is not None:
        lines += describe_other_split(value, option)
    for line in lines:
        world.say(line)
    field_checks.check_same_contents(learnt, opened.fields, option)
    return opened


def best_first(options: dict[str, Any]) -> dict[str, Any]:
    """`best_by`, of which nothing depends here, has to be one of the metrics."""
    return {**options, "best_by": options["metrics"][0]}

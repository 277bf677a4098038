"""Choose a run's held-out data where `data.validation` is `auto`, and describe what that means."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gantrain.core.world import World
from gantrain.core.yaml12 import read_mapping
from gantrain.data.neighbours import describe_unused, find_neighbour
from gantrain.data.splits import (
    HELD_OUT_SPLITS,
    SYNTHETIC,
    TEST_SPLITS,
    describe_split,
    describe_test_split,
)
from gantrain.data.urls import is_url
from gantrain.recipe.data_section import Data
from gantrain.recipe.field_types import AUTO
from gantrain.recipe.schema import Recipe
from gantrain.runs import checkpoint

_TRAIN_KEYS = {"train", "train_target"}
_KEYS = {"validation", "validation_target", "test", "test_target"}

Choice = dict[str, str | None]  # by the keys of `data` in _KEYS


# What made a choice: the user, the folders beside `data.train`, or the start of a run that is
# resumed.
Origin = Literal["given", "beside", "earlier"]


@dataclass(frozen=True)
class HeldOutChoice:
    """A recipe whose `data.validation` is not `auto`.

    origin: what made the choice. lines: additional ones for the console.
    """

    recipe: Recipe
    origin: Origin
    lines: list[str]

    def is_of(self, data: Data) -> bool:
        """Return whether a stage has the held-out data of the whole run."""
        return data.model_dump(include=_KEYS) == self.recipe.data.model_dump(include=_KEYS)

    def describe(self, unusable_test: str | None = None) -> list[str]:
        """Return the lines for the console.

        unusable_test: why the test set beside the training data can't be used.
        """
        data = self.recipe.data
        if unusable_test is None:
            return [*_describe(data, self.origin), *self.lines]
        without = data.model_copy(update={"test": None, "test_target": None})
        reason = f"data.test: {data.test} is not used: {unusable_test.removeprefix('data.test: ')}"
        return [reason, *_describe(without, self.origin), *self.lines]


def choose_held_out(recipe: Recipe, world: World) -> HeldOutChoice:
    """Settle `data.validation` where it is `auto`. Every rank calls it.

    A held-out split beside `data.train` becomes `data.validation`; else a test split beside it
    becomes `data.test`. A resumed run keeps the choice of its start, which its recipe.yaml states,
    as long as `data.train` is the same path.
    """
    if recipe.data.validation != AUTO:
        return HeldOutChoice(recipe, "given", [])
    chosen, origin, lines = world.broadcast_from_rank0(lambda: _choose(recipe))
    data = recipe.data.model_copy(update=chosen)
    return HeldOutChoice(recipe.model_copy(update={"data": data}), origin, lines)


def known_sets(data: Data) -> dict[str, str]:
    """Return the held-out set and the test set of a settled recipe, by the keys of `data`."""
    values = {"validation": data.validation, "test": data.test}
    return {key: value for key, value in values.items() if value is not None and value != AUTO}


def _choose(recipe: Recipe) -> tuple[Choice, Origin, list[str]]:
    """Return the keys of `data` that replace `auto`, what made the choice, and lines on it.

    A line reports that a resumed run keeps an older choice.
    """
    beside = _look_beside(recipe.data)
    saved = _saved_data(recipe)
    earlier: Choice = {key: saved[key] for key in _KEYS if key in saved}
    places = recipe.data.model_dump(include=_TRAIN_KEYS)
    is_moved = any(saved.get(key) != place for key, place in places.items())
    if not earlier or is_moved or earlier.get("validation") == AUTO:
        return beside, "beside", _describe_unused(recipe.data, beside)
    new_place = beside.get("validation")
    if new_place is None or new_place == earlier.get("validation"):
        return earlier, "earlier", []
    line = (
        f"data.validation: {new_place} is there now, and the run goes on as it was started;"
        f" data.validation={new_place} uses it"
    )
    return earlier, "earlier", [line]


def _describe_unused(data: Data, choice: Choice) -> list[str]:
    """Return a line on what looks like held-out or test data beside the training data.

    It is about data that can't be used.
    """
    if choice.get("validation") is not None or data.test is not None:
        return []
    splits: tuple[str, ...] = HELD_OUT_SPLITS
    if choice.get("test") is None:
        splits = (*HELD_OUT_SPLITS, *TEST_SPLITS)
    unused = describe_unused(splits, data.train, data.train_target)
    if not unused:
        return []
    return [f"data.validation: not used as held-out or test data: {'; '.join(unused)}"]


def _look_beside(data: Data) -> Choice:
    if data.train == SYNTHETIC:
        return {"validation": SYNTHETIC}
    held_out = find_neighbour(HELD_OUT_SPLITS, data.train, data.train_target)
    if held_out is not None:
        return {
            "validation": held_out.place,
            "validation_target": data.validation_target or held_out.target,
        }
    test = find_neighbour(TEST_SPLITS, data.train, data.train_target)
    if test is None or data.test is not None:
        return {"validation": None}
    return {"validation": None, "test": test.place, "test_target": data.test_target or test.target}


def _saved_data(recipe: Recipe) -> Mapping[str, Any]:
    """Return the settings `data` of the run's recipe.yaml; empty for a run without a checkpoint.

    A damaged file is refused when the run is opened.
    """
    path = recipe.folder / "recipe.yaml"
    if not (checkpoint.list_checkpoints(recipe.folder / "checkpoints") and path.is_file()):
        return {}
    try:
        data = read_mapping(path).get("data")
    except ValueError:
        return {}
    if not isinstance(data, dict):
        return {}
    is_usable = all(isinstance(data.get(key), str | None) for key in _KEYS)
    return data if is_usable else {}


def _describe(data: Data, origin: Origin) -> list[str]:
    """Return the lines on settled keys of `data`."""
    if data.validation == SYNTHETIC:
        return []
    source = {
        "given": "",
        "beside": ", which was found beside data.train,",
        "earlier": ", as in this run so far,",
    }[origin]
    is_inside = data.train in (data.validation, data.test)
    if origin == "beside" and is_inside:
        source = ", which were found beside the training images,"
    if data.validation is not None:
        return _describe_validation(data, data.validation, source)
    missing = "nothing is measured while training, and evaluate.best_by chooses no checkpoint"
    remedy = "data.validation=FOLDER sets held-out data"
    if data.test is not None:
        test = describe_split("test", data.test, data.train)
        verb = "is" if test == data.test else "are"
        return [
            f"data.test: {test}{source} {verb} shown in previews only, as a test set: {missing};"
            f" {remedy}"
        ]
    reason = _why_none(data, origin)
    return [
        f"data.validation: no held-out data ({reason}): previews show training samples, {missing};"
        f" {remedy}"
    ]


def _describe_validation(data: Data, place: str, source: str) -> list[str]:
    """Return the lines on held-out data. source: what made the choice, empty for the user."""
    lines = []
    if source:
        held_out = describe_split("validation", place, data.train)
        verb = "is" if held_out == place else "are"
        lines.append(
            f"data.validation: {held_out}{source} {verb} held out; data.validation=null trains"
            " without"
        )
    test_split = describe_test_split(place)
    if test_split is not None:
        lines.append(
            f"data.validation: {place} holds {test_split} and no other held-out images, so"
            " evaluate.best_by chooses checkpoints on a test set; measure the result on other"
            " images"
        )
    return lines


def _why_none(data: Data, origin: Origin) -> str:
    if origin == "given":
        return "null"
    if origin == "earlier":
        return "as in this run so far"
    if data.train is not None and is_url(data.train):
        return "auto does not look beside a URL"
    splits = f"{', '.join(HELD_OUT_SPLITS)} or {', '.join(TEST_SPLITS)}"
    both = ", of both sets" if data.unpaired else ""
    return f"auto found no {splits} with images{both} beside data.train"

"""Which held-out data a run uses, where `data.validation` is `auto`; and the line that says what
it means.
"""

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
from gantrain.recipe.schema import Data, Recipe
from gantrain.runs import checkpoint

AUTO = "auto"
_TRAIN_KEYS = ("train", "train_target")
_KEYS = ("validation", "validation_target", "test", "test_target")

Choice = dict[str, str | None]  # by the keys of `data` in _KEYS


# Where a choice comes from: the user, the folders beside `data.train`, or the start of a run that
# is resumed.
Origin = Literal["given", "beside", "kept"]


@dataclass(frozen=True)
class HeldOutChoice:
    """A recipe whose `data.validation` is not `auto`. lines: further ones for the console."""

    recipe: Recipe
    origin: Origin
    lines: list[str]

    def is_of(self, data: Data) -> bool:
        """Return whether a stage has the held-out data of the whole run."""
        own = self.recipe.data
        return all(getattr(data, key) == getattr(own, key) for key in _KEYS)

    def describe(self, unusable_test: str | None = None) -> list[str]:
        """The lines for the console. unusable_test: why the test set beside the training data
        can't be used.
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
    becomes `data.test`. A run that has begun keeps the choice of its start, which its recipe.yaml
    states, as long as `data.train` is the same path."""
    if recipe.data.validation != AUTO:
        return HeldOutChoice(recipe, "given", [])
    chosen, origin, lines = world.broadcast_from_rank0(lambda: _choose(recipe))
    data = recipe.data.model_copy(update=chosen)
    return HeldOutChoice(recipe.model_copy(update={"data": data}), origin, lines)


def known_sets(data: Data) -> dict[str, str]:
    """The held-out set and the test set that a settled recipe names, by the keys of `data`."""
    values = {"validation": data.validation, "test": data.test}
    return {key: value for key, value in values.items() if value is not None and value != AUTO}


def _choose(recipe: Recipe) -> tuple[Choice, Origin, list[str]]:
    """The keys of `data` that replace `auto`, and where they come from.

    The lines say where a resumed run keeps an older choice.
    """
    found = _look_beside(recipe.data)
    saved = _saved_data(recipe)
    kept: Choice = {key: saved[key] for key in _KEYS if key in saved}
    is_moved = any(saved.get(key) != getattr(recipe.data, key) for key in _TRAIN_KEYS)
    if not kept or is_moved or kept.get("validation") == AUTO:
        return found, "beside", _describe_unused(recipe.data, found)
    there = found.get("validation")
    if there is None or there == kept.get("validation"):
        return kept, "kept", []
    line = (
        f"data.validation: {there} is there now, and the run goes on as it was started;"
        f" data.validation={there} uses it"
    )
    return kept, "kept", [line]


def _describe_unused(data: Data, found: Choice) -> list[str]:
    """A line on what looks like held-out data, or test data, beside the training data and can't
    be used.
    """
    if found.get("validation") is not None or data.test is not None:
        return []
    splits = HELD_OUT_SPLITS if found.get("test") is not None else (*HELD_OUT_SPLITS, *TEST_SPLITS)
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
    """The settings `data` of the run's recipe.yaml; empty for a run that has no checkpoint yet.

    A damaged file is refused when the run is opened.
    """
    path = recipe.folder / "recipe.yaml"
    if not (checkpoint.found(recipe.folder / "checkpoints") and path.is_file()):
        return {}
    try:
        data = read_mapping(path).get("data")
    except ValueError:
        return {}
    is_usable = isinstance(data, dict) and all(
        isinstance(data.get(key), str | None) for key in _KEYS
    )
    return data if isinstance(data, dict) and is_usable else {}


def _describe(data: Data, origin: Origin) -> list[str]:
    """The lines on settled keys of `data`."""
    is_inside = data.train in (data.validation, data.test)
    source = {
        "given": "",
        "beside": ", which was found beside data.train,",
        "kept": ", as in this run so far,",
    }[origin]
    if origin == "beside" and is_inside:
        source = ", which were found beside the training images,"
    if data.validation == SYNTHETIC:
        return []
    if data.validation is not None:
        lines = []
        if origin != "given":
            held_out = describe_split("validation", data.validation, data.train)
            verb = "is" if held_out == data.validation else "are"
            lines.append(
                f"data.validation: {held_out}{source} {verb} held out; data.validation=null"
                " trains without"
            )
        test_split = describe_test_split(data.validation)
        if test_split is not None:
            lines.append(
                f"data.validation: {data.validation} holds {test_split} and no other held-out"
                " images, so evaluate.best_by chooses checkpoints on a test set; measure the"
                " result on other images"
            )
        return lines
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


def _why_none(data: Data, origin: Origin) -> str:
    if origin == "given":
        return "null"
    if origin == "kept":
        return "as in this run so far"
    if data.train is not None and is_url(data.train):
        return "auto does not look beside a URL"
    splits = f"{', '.join(HELD_OUT_SPLITS)} or {', '.join(TEST_SPLITS)}"
    both = ", of both sets" if data.unpaired else ""
    return f"auto found no {splits} with images{both} beside data.train"

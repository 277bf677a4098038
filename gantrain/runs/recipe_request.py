"""Makes the recipe of a command or a Python call from a name, a path, a mapping or a Recipe."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from gantrain.core.component import text_keys
from gantrain.core.errors import UserError
from gantrain.core.extensions import check_imported, interactive_advice
from gantrain.recipe import recipe_files
from gantrain.recipe import schema as recipes
from gantrain.recipe.schema import Recipe
from gantrain.runs import checkpoint

Source = str | os.PathLike[str] | Mapping[str, object] | Recipe
Change = str | Mapping[str, object]


def request_recipe(source: Source, changes: Iterable[Change] = ()) -> Recipe:
    """Return the checked recipe.

    source: a recipe's name or path, its content as a mapping (which may have `extends`, as a file
    may), or a Recipe. changes: texts `a.b.c=value`, and mappings whose keys may be nested or
    dotted. Raises UserError with one line for each problem, all at once; where the run was made
    with modules that are not imported here, one line names them instead.
    """
    content = recipe_files.apply(_content(source), _as_texts(changes), set(text_keys(Recipe)))
    try:
        return recipes.from_dict(content)
    except ValueError as error:
        modules = _check_run(content)
        advice = interactive_advice(modules)
        if advice:
            raise UserError(f"{error}{advice}") from None
        raise


def _content(source: Source) -> dict[str, object]:
    if isinstance(source, Recipe):
        return source.dump()
    if isinstance(source, str | os.PathLike):
        return recipe_files.read(os.fspath(source))
    if not isinstance(source, Mapping):
        raise UserError(
            f"recipe: found {type(source).__name__}, allowed: a name, a path, a mapping, a Recipe"
        )
    content: dict[str, object] = json.loads(_as_json("recipe", source))
    parent = content.pop("extends", None)
    if not isinstance(parent, str | None):
        raise UserError(f"extends: found {parent!r:.100}, allowed: one recipe's name or path")
    if parent is not None:
        content = recipe_files.merge(recipe_files.read(parent) | {"description": ""}, content)
    if "name" not in content and isinstance(content.get("run"), str):
        content["name"] = content["run"]
    return content


def _as_texts(changes: Iterable[Change]) -> list[str]:
    """Return the changes in the command line's words, since JSON is YAML as well."""
    texts: list[str] = []
    for change in changes:
        if isinstance(change, str):
            texts.append(change)
        elif isinstance(change, Mapping):
            texts += [f"{key}={_as_json(str(key), value)}" for key, value in change.items()]
        else:
            raise UserError(
                f"recipe: found {type(change).__name__} as a change, allowed: a text a.b.c=value,"
                " or a mapping"
            )
    return texts


def _as_json(key: str, value: object) -> str:
    """Return a value of a mapping as JSON. key: for the message. Raises UserError."""
    try:
        return json.dumps(value, default=_as_plain, ensure_ascii=False)
    except (TypeError, ValueError) as error:  # of a type, or of a list that holds itself
        allowed = "numbers, texts, paths, lists and mappings of them"
        raise UserError(
            f"{key}: found a value that no recipe can hold ({error}), allowed: {allowed}"
        ) from None


def _as_plain(value: object) -> object:
    """Return a value that JSON does not know in a type that it knows. Raises TypeError."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(type(value).__name__)


def _check_run(content: Mapping[str, object]) -> list[str]:
    """Return the modules that the run's latest checkpoint records.

    Raises UserError where some of them are not imported.
    """
    name = content.get("run") or content.get("name")
    if not isinstance(name, str) or "/" in name:
        return []
    latest = checkpoint.latest(Path("runs", name, "checkpoints"))
    if latest is None:
        return []
    try:
        modules = checkpoint.state(latest).modules
    except ValueError:  # the recipe's own problem comes first
        return []
    check_imported(modules, latest)
    return modules

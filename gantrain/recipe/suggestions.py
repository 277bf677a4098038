"""Suggests keys for an unknown one, from the recipe, its tables and other projects' options."""

import difflib
import json
import shlex
from collections.abc import Iterator
from typing import Annotated, Any, get_origin

from pydantic import BaseModel, PydanticSchemaGenerationError, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from gantrain.core.error_messages import models_in, one_line, with_allowed
from gantrain.core.errors import UserError
from gantrain.recipe import recipe_files
from gantrain.recipe.peer_folders import is_folder_option, words_for_folder
from gantrain.recipe.peer_options import explanation_for, normalise, words_for
from gantrain.recipe.renamed_keys import NEW_NAMES, renamed_key

_INTERNAL = ("name", "description")  # of the whole recipe: its file gives them
_PLACEHOLDER = "VALUE"
_MOST = 3  # keys that a suggestion lists
_CLOSE = 0.8  # of two names in the whole recipe; names side by side may differ more


class Suggestions:
    """Suggests keys of the recipe whose typed model is `model` and whose content is `content`."""

    def __init__(self, model: type[BaseModel], content: dict[str, object]) -> None:
        self.model = model
        self.content = content
        self.keys = list(_keys(model, content))

    def advise(self, key: str, value: object, beside: type[BaseModel]) -> str:
        """Return the advice on an unknown key.

        It is the key's new name, or a suggestion and what is allowed. beside: the model that lacks
        the key.
        """
        names = self._settable(beside)
        new_key = renamed_key(key, names)
        if new_key:
            return f"is called {new_key} now"
        parent, _, last = key.rpartition(".")
        nearest = _related(last, names) if parent else ""
        if nearest and _is_allowed(beside.model_fields[nearest], value):
            hint = _did_you_mean([f"{parent}.{nearest}"], _text(value), False)
        else:
            keys = [f"{parent}.{name}".lstrip(".") for name in names]
            hint = self._suggest(key, _text(value), keys)
        return f"unknown key; {with_allowed(hint, names)}"

    def for_option(self, name: str, value: str) -> str:
        """Suggest what a user meant by `--name value`; empty where nothing is similar.

        value: empty where none was typed. The suggestion then says true for a key that is true or
        false, and else has a placeholder.
        """
        value = value or ("true" if self._is_flag(name) else _PLACEHOLDER)
        if "." in name and name in self.keys:
            return _did_you_mean([name], value, True)
        return self._suggest(name, value, self._settable(self.model), is_option=True)

    def knows(self, name: str) -> bool:
        """Return whether a name is a key of the recipe, or what another project calls one."""
        return name in self.keys or bool(_same(self.keys, name) or words_for(name, "1"))

    def _is_flag(self, name: str) -> bool:
        """Return whether the first key of that name is true or false."""
        for key in [name] if "." in name and name in self.keys else _same(self.keys, name):
            parent, _, last = key.rpartition(".")
            chosen = _models_at(self.model, self.content, parent)[1] if parent else self.model
            return chosen is not None and chosen.model_fields[last].annotation is bool
        return False

    def _suggest(self, key: str, value: str, beside: list[str], is_option: bool = False) -> str:
        """Suggest in one sentence what a user meant; empty where nothing is similar.

        beside: the dotted keys that are allowed in the unknown one's place.
        """
        last = _last(key)
        same_beside = _same(beside, last)
        if same_beside:
            return _did_you_mean(same_beside, value, is_option)
        same = _same(self.keys, last) or _same(self.keys, NEW_NAMES.get(last, last))
        if is_folder_option(last):
            words = words_for_folder(value, self.content)
        else:
            words = words_for(last, value)
        if words and not (len(words) == 1 and _key_of(words[0]) in same):
            return self._for_words(words)
        if same:
            return _did_you_mean(same, value, is_option)
        return (
            explanation_for(last)
            or self._elsewhere(key, value)
            or _did_you_mean(self._close(last, beside), value, is_option)
        )

    def _close(self, last: str, beside: list[str]) -> list[str]:
        """Return the keys with a similar name: beside the unknown one, else in the whole recipe."""
        close = difflib.get_close_matches(last, [_last(key) for key in beside], 1)
        if close:
            return _same(beside, close[0])
        closest = difflib.get_close_matches(last, {_last(key) for key in self.keys}, 1, _CLOSE)
        return _same(self.keys, closest[0]) if closest else []

    def _for_words(self, words: list[str]) -> str:
        """Suggest words of a command line, without `recipe=` where this recipe has their keys."""
        keys = [word for word in words if not word.startswith("recipe=")]
        has_all = all(_key_of(word) in self.keys for word in keys)
        return f"did you mean {_pasted(keys if keys and has_all else words)}?"

    def _elsewhere(self, key: str, value: str) -> str:
        """Return a sentence on other components, or on other methods, that have the key."""
        parent, _, last = key.rpartition(".")
        models, chosen = _models_at(self.model, self.content, parent)
        others = [m.__name__ for m in models if m is not chosen and last in _names(m)]
        if parent != "method" and chosen and others:
            words = _pasted([f"{parent}={others[0]}", f"{key}={value}"])
            return f"{chosen.__name__} has no {last}, {_listed(others)}; did you mean {words}?"
        methods, method = _models_at(self.model, self.content, "method")
        others = [m.__name__ for m in methods if m is not method and last in _names(m)]
        if parent in ("", "method") and method and others:
            words = _pasted([f"recipe={_recipe_of(others[0])}", f"method.{last}={value}"])
            return f"{method.__name__} has no {last}, {_listed(others)}; did you mean {words}?"
        return ""

    def _settable(self, model: type[BaseModel]) -> list[str]:
        names = _names(model)
        if model is self.model:
            return [name for name in names if name not in _INTERNAL]
        return names


def _related(wrong: str, names: list[str]) -> str:
    """Return the name that is a whole part of a wrong one, or of which the wrong one is a part.

    Such as `test` for `test_set`, and `best_by` for `best`; empty where there is none, and where
    the wrong name is right.
    """
    if wrong in names:
        return ""
    inside = [name for name in names if wrong.startswith(f"{name}_")]
    if inside:
        return max(inside, key=len)
    around = [name for name in names if name.startswith(f"{wrong}_")]
    return around[0] if len(around) == 1 else ""


def _is_allowed(field: FieldInfo, value: object) -> bool:
    """Return whether a field takes a value, for what the value alone says."""
    annotation: Any = field.annotation
    for rule in field.metadata:
        annotation = Annotated[annotation, rule]
    try:
        TypeAdapter(annotation).validate_python(value)
    except (ValidationError, PydanticSchemaGenerationError):
        return False
    return True


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _key_of(word: str) -> str:
    return word.partition("=")[0]


def _same(keys: list[str], last: str) -> list[str]:
    """Return the dotted keys whose last part is the same name, however it is written."""
    return [key for key in keys if normalise(_last(key)) == normalise(last)]


def _did_you_mean(keys: list[str], value: str, with_value: bool) -> str:
    shown = [_pasted([f"{key}={value}"]) if with_value else key for key in keys[:_MOST]]
    return f"did you mean {' or '.join(shown)}?" if shown else ""


def _listed(names: list[str]) -> str:
    return f"but {' and '.join(names[:_MOST])} {'has' if len(names) == 1 else 'have'}"


def _pasted(words: list[str]) -> str:
    """Return the words as a shell takes them."""
    return " ".join(shlex.quote(one_line(word)) for word in words)


def _text(value: object) -> str:
    """Return a value as a user types it behind `key=`."""
    return value if isinstance(value, str) else json.dumps(value)


def _names(model: type[BaseModel]) -> list[str]:
    """Return the keys of a model that a recipe may set.

    They are all but those that the data decide, such as `in_channels`.
    """
    return [name for name, field in model.model_fields.items() if field.exclude_if is None]


def _inner_models(field: FieldInfo) -> list[type[BaseModel]]:
    """Return the models of a field with fixed keys; a list or a mapping of free names has none."""
    if get_origin(field.annotation) in (dict, list, tuple):
        return []
    return models_in(field.annotation)


def _chosen(models: list[type[BaseModel]], value: object) -> type[BaseModel] | None:
    """Return the model of the component that a value names, or the only one."""
    name = value.get("name") if isinstance(value, dict) else value
    named = [model for model in models if model.__name__ == name]
    if named:
        return named[0]
    return models[0] if len(models) == 1 else None


def _with_default(field: FieldInfo, value: object) -> object:
    """Return the value, and where it names no component, the name of the field's default."""
    default = {"name": field.default} if isinstance(field.default, str) else field.default
    if value is None:
        return default
    if isinstance(value, dict) and "name" not in value and isinstance(default, dict):
        return {**default, **value}
    return value


def _keys(model: type[BaseModel], content: object, prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys that a recipe of that content may set."""
    for name in _names(model):
        if not prefix and name in _INTERNAL:
            continue
        yield f"{prefix}{name}"
        field = model.model_fields[name]
        value = _with_default(field, content.get(name) if isinstance(content, dict) else None)
        inner = _chosen(_inner_models(field), value)
        is_left_out = value is None and field.default is None  # such as a loss without a weight
        if inner and not is_left_out:
            yield from _keys(inner, value, f"{prefix}{name}.")


def _models_at(
    model: type[BaseModel], content: object, key: str
) -> tuple[list[type[BaseModel]], type[BaseModel] | None]:
    """Return all models that the mapping at a dotted key may have, and the one that is chosen."""
    models = [model]
    chosen: type[BaseModel] | None = model
    for part in key.split("."):
        if chosen is None or part not in chosen.model_fields:
            return [], None
        field = chosen.model_fields[part]
        content = _with_default(field, content.get(part) if isinstance(content, dict) else None)
        models = _inner_models(field)
        chosen = _chosen(models, content)
    return models, chosen


def _recipe_of(method: str) -> str:
    """Return a shipped recipe that trains a method: the one of its name, else the first one."""
    names = recipe_files.available()
    if method in names:
        return method
    for name in names:
        content = recipe_files.read(name).get("method")
        if content == method or (isinstance(content, dict) and content.get("name") == method):
            return name
    return "NAME"


def check_method_is_named(content: dict[str, object]) -> None:
    """Raise UserError, in one line, where a recipe neither has a method nor extends a recipe."""
    if "method" not in content:
        advice = "such as pix2pix, or extend a recipe by `extends: pix2pix`"
        raise UserError(f"method: missing; give it a value, {advice}")

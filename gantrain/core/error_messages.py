"""Pydantic's errors as lines for people: the key, what was found, what is allowed."""

import difflib
import json
from collections.abc import Callable, Sequence
from typing import TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gantrain.core.errors import UserError

_IN_BRACKETS = "values in brackets"

# What is allowed, in YAML's words and not in Python's, by pydantic's kind of problem. {names} are
# of its context.
_ALLOWED = {
    "model_type": "a mapping `key: value`",
    "dict_type": "a mapping `key: value`",
    "list_type": _IN_BRACKETS,
    "tuple_type": _IN_BRACKETS,
    "bool_type": "true, false",
    "string_type": "text; a number that is text stands in quotes",
    "too_long": "{max_length} items at most",
    "too_short": "at least {min_length} item(s)",
}

_SHOWN = 100  # characters of a wrong value or key
_SHORT_LIST = 8  # allowed names that are listed beside a suggestion, too

Model = TypeVar("Model", bound=BaseModel)

# What to report of an unknown key: from its dotted name, its value and the model that lacks it.
Advise = Callable[[str, object, type[BaseModel]], str]


def _advise(key: str, value: object, model: type[BaseModel]) -> str:
    """Suggest the closest of the keys that are allowed in the unknown one's place."""
    keys = [name for name in model.model_fields if name != "name"]
    close = difflib.get_close_matches(key.rpartition(".")[2], keys, 1)
    suggestion = f"did you mean {close[0]}?" if close else ""
    return f"unknown key; {with_allowed(suggestion, keys)}"


def with_allowed(suggestion: str, names: Sequence[str], more: str = "") -> str:
    """Return a suggestion and what is allowed.

    A long list of names is left out beside a suggestion. suggestion: empty where nothing is
    similar. more: what is allowed besides the names.
    """
    allowed = f"allowed: {', '.join(names) or 'none'}{more}"
    if not suggestion:
        return allowed
    if len(names) > _SHORT_LIST:
        return suggestion
    return f"{suggestion} {allowed}" if suggestion.endswith("?") else f"{suggestion}; {allowed}"


def check(
    model: type[Model],
    content: object,
    prefix: str = "",
    most: int | None = None,
    advise: Advise = _advise,
) -> Model:
    """Return the validated model.

    Raises UserError with one line for each wrong key (`prefix` before it), all problems at once.

    most: how many problems to report of a file that may hold millions. advise: words it where a key
    is unknown.
    """
    try:
        return model.model_validate(content)
    except ValidationError as e:
        lines: dict[str, str] = {}
        for problem in e.errors(include_url=False)[:most]:
            key, beside = _locate(problem["loc"], content, model)
            rule = _rule(problem, _holds_mappings(problem["loc"][-1:], beside))
            text = f"found {_shown(problem['input'])}, {rule}"
            if _is_short_list(problem):
                key = key.rpartition(".")[0]
                lines.pop(key, None)  # of an earlier place that has no value either
            elif problem["type"] == "missing":
                text = "missing; give it a value"
            elif problem["type"] in ("extra_forbidden", "invalid_key"):
                text = advise(key, problem["input"], beside)
            lines[key] = _with_rule(lines[key], rule) if key in lines else f"{prefix}{key}: {text}"
    raise UserError("\n".join(lines.values()))


def describe_first_problem(error: ValidationError) -> str:
    """Return what a value that is not part of a recipe is, and what is allowed instead."""
    problem = error.errors(include_url=False)[0]
    return f"found {_shown(problem['input'])}, {_rule(problem, False)}"


def _with_rule(line: str, rule: str) -> str:
    """Return the line of a key with one rule more, since each of a union's members has its own."""
    further = rule.removeprefix("allowed: ")
    return line if line.endswith(further) else f"{line} or {further}"


def _is_short_list(problem: ErrorDetails) -> bool:
    """Return whether a list is too short, so that one of its places has no value."""
    return problem["type"] == "missing" and isinstance(problem["loc"][-1], int)


def _rule(problem: ErrorDetails, of_mappings: bool) -> str:
    """Describe what is allowed, in the words of a recipe.

    of_mappings: the elements of the list that is wrong are mappings.
    """
    if _is_short_list(problem):
        return f"allowed: {int(problem['loc'][-1]) + 1} values"
    allowed = _ALLOWED.get(problem["type"])
    if allowed == _IN_BRACKETS and of_mappings:
        return "allowed: mappings in brackets, as in [{key: value}]"
    if allowed == _IN_BRACKETS:
        return f"allowed: {allowed}{_bracketed(problem['input'])}"
    if allowed:
        return f"allowed: {allowed.format(**problem.get('ctx', {}))}"
    message = problem["msg"]
    rule = message[0].lower() + message[1:]
    return rule.replace("input should be", "allowed:").removeprefix("value error, ")


def _bracketed(value: object) -> str:
    """Return an example of values in brackets.

    A number stands there twice, as for a height and a width, and a word once.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f", such as [{value},{value}]"
    return f", such as [{value}]" if isinstance(value, str) and value.isidentifier() else ""


def _shown(value: object) -> str:
    """Return a wrong value, in one line."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return _shortened(repr(value))


def one_line(text: str, most: int = _SHOWN) -> str:
    """Return a user's text in one line without control characters, of at most `most` characters."""
    return _shortened(text if text.isprintable() else repr(text)[1:-1], most)


def _shortened(text: str, most: int = _SHOWN) -> str:
    return text if len(text) <= most else f"{text[:most]}..."


def _locate(
    loc: tuple[int | str, ...], content: object, model: type[BaseModel]
) -> tuple[str, type[BaseModel]]:
    """Return the key as the user wrote it, and the model whose keys are allowed in its place.

    loc: pydantic's path to the error. Its own names, of a component's class or a union's member,
    are neither fields nor in the content.
    """
    path: list[str] = []
    models = [model]  # that the content may be, at the path so far
    beside = [model]  # those of the last key
    for name in loc:
        inner_models = _models_of_field(models, name)
        if inner_models is None and not _has(content, name):
            models = [m for m in models if m.__name__ == name] or models
            continue
        path.append(one_line(str(name)))
        beside = models
        models = inner_models or models
        content = _value_at(content, name)
    return ".".join(path) or "recipe", beside[0]


def _models_of_field(
    models: Sequence[type[BaseModel]], name: int | str
) -> list[type[BaseModel]] | None:
    """Return the models that a field of that name holds; None where none of `models` has it."""
    inner_models: list[type[BaseModel]] = []
    is_field = False
    for model in models:
        if name in model.model_fields:
            is_field = True
            inner_models += models_in(model.model_fields[str(name)].annotation)
    return inner_models if is_field else None


def _has(content: object, name: int | str) -> bool:
    """Return whether a mapping has a key; a list has any number, also one past its end."""
    return isinstance(name, int) if isinstance(content, list) else _is_key(content, name)


def _is_key(content: object, name: int | str) -> bool:
    return isinstance(content, dict) and name in content


def _value_at(content: object, name: int | str) -> object:
    """Return the value of a key or the element of a list; None where there is none."""
    if isinstance(content, list) and isinstance(name, int):
        return content[name] if name < len(content) else None
    return content.get(name) if isinstance(content, dict) else None


def _holds_mappings(names: Sequence[int | str], model: type[BaseModel]) -> bool:
    """Return whether the fields of these names are lists of mappings."""
    for name in names:
        field = model.model_fields.get(str(name))
        if field is None or get_origin(field.annotation) is not list:
            return False
        (element,) = get_args(field.annotation)
        if get_origin(element) is not dict and not models_in(element):
            return False
    return bool(names)


def models_in(annotation: object) -> list[type[BaseModel]]:
    """Return the models that a field's annotation names, in its order."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    models: list[type[BaseModel]] = []
    for argument in get_args(annotation):
        models += models_in(argument)
    return models

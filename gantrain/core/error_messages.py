"""Pydantic's errors as lines for people: the key, what was found, what is allowed."""

import difflib
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

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
Advise = Callable[[str, Any, type[BaseModel]], str]


def _advise(key: str, value: Any, model: type[BaseModel]) -> str:
    """Suggest the closest of the keys that are allowed in the unknown one's place."""
    keys = [name for name in model.model_fields if name != "name"]
    close = difflib.get_close_matches(key.rpartition(".")[2], keys, 1)
    return f"unknown key; {with_allowed(f'did you mean {close[0]}?' if close else '', keys)}"


def with_allowed(suggestion: str, names: Sequence[str], more: str = "") -> str:
    """A suggestion and what is allowed; beside a suggestion, a long list of names is left out.

    suggestion: empty where nothing is similar. more: what is allowed besides the names.
    """
    allowed = f"allowed: {', '.join(names) or 'none'}{more}"
    if not suggestion:
        return allowed
    if len(names) > _SHORT_LIST:
        return suggestion
    return f"{suggestion} {allowed}" if suggestion.endswith("?") else f"{suggestion}; {allowed}"


def check(
    model: type[Model],
    content: Any,
    prefix: str = "",
    most: int | None = None,
    advise: Advise = _advise,
) -> Model:
    """Validate; raises ValueError with one line for each wrong key (`prefix` before it), all
    problems at once.

    most: how many problems to report of a file that may hold millions. advise: words it where a key
    is unknown."""
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
    raise ValueError("\n".join(lines.values()))


def _with_rule(line: str, rule: str) -> str:
    """The line of a key with one rule more, since each of a union's members has its own."""
    further = rule.removeprefix("allowed: ")
    return line if line.endswith(further) else f"{line} or {further}"


def _is_short_list(problem: ErrorDetails) -> bool:
    """Return whether the problem is a place of a list that has no value, since the list is too
    short.
    """
    return problem["type"] == "missing" and isinstance(problem["loc"][-1], int)


def _rule(problem: ErrorDetails, of_mappings: bool) -> str:
    """Describe what is allowed, in the words of a recipe.

    of_mappings: the elements of the list that is wrong are mappings."""
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


def _bracketed(value: Any) -> str:
    """An example of values in brackets: a number twice, as for a height and a width; a word
    once.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f", such as [{value},{value}]"
    return f", such as [{value}]" if isinstance(value, str) and value.isidentifier() else ""


def _shown(value: Any) -> str:
    """A wrong value, in one line."""
    return _shortened(
        json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
    )


def one_line(text: str, most: int = _SHOWN) -> str:
    """A text of a user in one line that no terminal obeys, of `most` characters."""
    return _shortened(text if text.isprintable() else repr(text)[1:-1], most)


def _shortened(text: str, most: int = _SHOWN) -> str:
    return text if len(text) <= most else f"{text[:most]}..."


def _locate(
    loc: tuple[int | str, ...], content: Any, model: type[BaseModel]
) -> tuple[str, type[BaseModel]]:
    """The key as the user wrote it, and the model whose keys are allowed in its place.

    Pydantic's own names, of a component's class or a union's member, are neither fields nor in the
    content."""
    path, models, beside = list[str](), [model], [model]
    for part in loc:
        in_list = isinstance(content, list) and isinstance(part, int)
        content = dict(enumerate(content)) if in_list else content
        inside = [m.model_fields[str(part)].annotation for m in models if part in m.model_fields]
        if inside or in_list or (isinstance(content, dict) and part in content):
            path, beside = [*path, one_line(str(part))], models
            models = [m for annotation in inside for m in models_in(annotation)] or models
            content = content.get(part) if isinstance(content, dict) else None
        else:
            models = [m for m in models if m.__name__ == part] or models
    return ".".join(path) or "recipe", beside[0]


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


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that a field's annotation names, in its order."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in get_args(annotation) for m in models_in(part)]

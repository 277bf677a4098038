"""Pydantic's errors as lines for people: the key, what was found, what is allowed."""

import difflib
import json
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

# What is allowed, in YAML's words and not in Python's, by pydantic's kind of problem. {names} are of its context.
_ALLOWED = {
    "model_type": "a mapping `key: value`",
    "dict_type": "a mapping `key: value`",
    "list_type": "values in brackets",
    "tuple_type": "values in brackets",
    "bool_type": "true, false",
    "string_type": "text; a number that is text stands in quotes",
    "too_long": "{max_length} items at most",
    "too_short": "at least {min_length} item(s)",
}

_SHOWN = 100  # characters of a wrong value or key

Model = TypeVar("Model", bound=BaseModel)


def check(model: type[Model], content: Any, prefix: str = "", most: int | None = None) -> Model:
    """Validate; raises ValueError with one line for each wrong key (`prefix` before it), all problems at once.

    most: how many problems to report of a file that may hold millions.
    """
    try:
        return model.model_validate(content)
    except ValidationError as e:
        lines: dict[str, str] = {}
        for problem in e.errors(include_url=False)[:most]:
            key, keys = _locate(problem["loc"], content, model)
            rule = _rule(problem)
            text = f"found {_shown(problem['input'])}, {rule}"
            if problem["type"] == "missing":
                text = "missing; give it a value"
            elif problem["type"] in ("extra_forbidden", "invalid_key"):
                close = difflib.get_close_matches(key.rpartition(".")[2], keys, 1)
                hint = f"did you mean {close[0]}? " if close else ""
                text = f"unknown key; {hint}allowed: {', '.join(keys) or 'none'}"
            # A union's members each have their rule.
            lines[key] = (
                f"{lines[key]} or {rule.removeprefix('allowed: ')}" if key in lines else f"{prefix}{key}: {text}"
            )
    raise ValueError("\n".join(lines.values()))


def _rule(problem: ErrorDetails) -> str:
    """Describe what is allowed, in the words of a recipe."""
    allowed = _ALLOWED.get(problem["type"])
    if allowed:
        return f"allowed: {allowed.format(**problem.get('ctx', {}))}"
    message = problem["msg"]
    rule = message[0].lower() + message[1:]
    return rule.replace("input should be", "allowed:").removeprefix("value error, ")


def _shown(value: Any) -> str:
    """A wrong value, in one line."""
    return _shortened(json.dumps(value) if value is None or isinstance(value, bool) else repr(value))


def one_line(text: str, most: int = _SHOWN) -> str:
    """A text of a user in one line that no terminal obeys, of `most` characters."""
    return _shortened(text if text.isprintable() else repr(text)[1:-1], most)


def _shortened(text: str, most: int = _SHOWN) -> str:
    return text if len(text) <= most else f"{text[:most]}..."


def _locate(loc: tuple[int | str, ...], content: Any, model: type[BaseModel]) -> tuple[str, list[str]]:
    """The key as the user wrote it, and the keys allowed in its place.

    Pydantic's own names, of a component's class or a union's member, are neither fields nor in the content.
    """
    path, models, beside = list[str](), [model], [model]
    for part in loc:
        in_list = isinstance(content, list) and isinstance(part, int)
        content = dict(enumerate(content)) if in_list else content
        inside = [m.model_fields[str(part)].annotation for m in models if part in m.model_fields]
        if inside or in_list or (isinstance(content, dict) and part in content):
            path, beside = [*path, one_line(str(part))], models
            models = [m for annotation in inside for m in _models(annotation)] or models
            content = content.get(part) if isinstance(content, dict) else None
        else:
            models = [m for m in models if m.__name__ == part] or models
    return ".".join(path) or "recipe", [key for key in beside[0].model_fields if key != "name"]


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in get_args(annotation) for m in _models(part)]

"""Pydantic's errors as lines for people: the key, what was found, what is allowed."""

import difflib
import json
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

_MAPPING, _LIST = "allowed: a mapping `key: value`", "allowed: values in brackets"  # YAML's words, not Python's
_TEXTS = {"model_type": _MAPPING, "dict_type": _MAPPING, "list_type": _LIST, "tuple_type": _LIST}

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
            kind, found, message = problem["type"], problem["input"], problem["msg"]
            key, allowed = _locate(problem["loc"], content, model)
            rule = _TEXTS.get(kind, message[0].lower() + message[1:]).replace("input should be", "allowed:")
            rule = rule.removeprefix("value error, ")
            shown = json.dumps(found) if found is None or isinstance(found, bool) else repr(found)
            text = f"found {shown:.100}, {rule}"
            if kind == "missing":
                text = "missing; give it a value"
            elif kind in ("extra_forbidden", "invalid_key"):
                close = difflib.get_close_matches(key.rpartition(".")[2], allowed, 1)
                hint = f"did you mean {close[0]}? " if close else ""
                text = f"unknown key; {hint}allowed: {', '.join(allowed) or 'none'}"
            # A union's members each have their rule.
            lines[key] = (
                f"{lines[key]} or {rule.removeprefix('allowed: ')}" if key in lines else f"{prefix}{key}: {text}"
            )
    raise ValueError("\n".join(lines.values()))


def _locate(loc: tuple[int | str, ...], content: Any, model: type[BaseModel]) -> tuple[str, list[str]]:
    """The key as the user wrote it, and the keys allowed in its place.

    Pydantic's own names, of a component's class or a union's member, are neither fields nor in the content.
    """
    path, models, beside = list[str](), [model], [model]
    for part in loc:
        in_list = isinstance(content, list)
        content = dict(enumerate(content)) if in_list else content
        inside = [m.model_fields[str(part)].annotation for m in models if part in m.model_fields]
        if inside or in_list or (isinstance(content, dict) and part in content):
            path, beside = [*path, str(part)], models
            models = [m for annotation in inside for m in _models(annotation)] or models
            content = content.get(part) if isinstance(content, dict) else None
        else:
            models = [m for m in models if m.__name__ == part] or models
    return ".".join(path) or "recipe", [key for key in beside[0].model_fields if key != "name"]


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in get_args(annotation) for m in _models(part)]

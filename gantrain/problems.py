"""Pydantic's errors as lines a person can act on: what is wrong, found, allowed."""

import difflib
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)


def check(model: type[Model], content: Any) -> Model:
    """Validate; raises ValueError with one line for each wrong key, all problems at once."""
    try:
        return model.model_validate(content)
    except ValidationError as e:
        raise ValueError("\n".join(_lines(e, content, model))) from None


def _lines(error: ValidationError, content: Any, model: type[BaseModel]) -> list[str]:
    schema = model.model_json_schema()
    by_path: dict[str, list[str]] = {}
    for problem in error.errors():
        path, node = _walk(problem["loc"], content, schema)
        by_path.setdefault(".".join(path), []).append(_explain(problem, path, node))
    return [f"{path}: {' or '.join(dict.fromkeys(texts))}" for path, texts in by_path.items()]


def _follow(node: dict[str, Any], value: Any, schema: dict[str, Any]) -> dict[str, Any]:
    """The schema's object that describes `value`: references and unions taken."""
    while True:
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
        elif "discriminator" in node:
            name = value.get("name") if isinstance(value, dict) else value
            target = node["discriminator"]["mapping"].get(name)
            if target is None:
                return node
            node = {"$ref": target}
        elif "anyOf" in node:
            options = [o for o in node["anyOf"] if o.get("type") != "null"]
            if len(options) != 1:
                return node
            node = options[0]
        else:
            return node


def _walk(
    loc: tuple[int | str, ...], content: Any, schema: dict[str, Any]
) -> tuple[list[str], dict[str, Any]]:
    """The key's path as the user wrote it (pydantic adds union tags), and its parent's schema."""
    path: list[str] = []
    node, parent = schema, schema
    for i, part in enumerate(loc):
        if isinstance(content, dict):
            if part not in content and (part == content.get("name") or i < len(loc) - 1):
                continue  # a union's tag or a default component
            parent = _follow(node, content, schema)
            node = parent.get("properties", {}).get(part, parent.get("additionalProperties") or {})
            if not isinstance(node, dict):
                node = {}
            content = content.get(part)
            path.append(str(part))
        elif isinstance(content, list | tuple) and isinstance(part, int) and part < len(content):
            content = content[part]
    return path or ["recipe"], parent


def _explain(problem: Any, path: list[str], parent: dict[str, Any]) -> str:
    kind, found = problem["type"], problem["input"]
    allowed = [k for k in parent.get("properties", {}) if k != "name"]
    if kind == "extra_forbidden":
        close = difflib.get_close_matches(path[-1], allowed, 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        return f"unknown key; allowed: {', '.join(allowed) or 'none'}{hint}"
    if kind == "missing":
        return "missing; give it a value"
    if kind == "union_tag_invalid":
        name = problem["ctx"]["tag"]
        return f"found {name!r}, allowed: {problem['ctx']['expected_tags'].replace(chr(39), '')}"
    if kind == "union_tag_not_found":
        return f"found {found!r}, must be a name, or a mapping with a name"
    message = problem["msg"].removeprefix("Value error, ")
    message = message.replace("Input should be", "must be").replace(
        "String should match", "must match"
    )
    return f"found {found!r}, {message[0].lower()}{message[1:]}"

"""Pydantic's errors as lines a person can act on: what is wrong, found, allowed."""

import difflib
import json
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)
Node = dict[str, Any]  # a JSON Schema

_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}
_TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "object": "a mapping `key: value`",
    "null": "null",
}
_ABSENT = object()  # found where a default, not the user, gave the value


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
        path, found, node, parent = _walk(problem["loc"], content, schema)
        text = _explain(problem, path, found, _allowed(node, schema), parent)
        by_path.setdefault(path, []).append(text)
    return [f"{path}: {' or '.join(dict.fromkeys(texts))}" for path, texts in by_path.items()]


def _follow(node: Node, schema: Node) -> Node:
    """The schema itself where `node` refers to it, or allows null besides it."""
    while True:
        options = [o for o in node.get("anyOf", []) if o.get("type") != "null"]
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
        elif len(options) == 1:
            node = options[0]
        else:
            return node


def _walk(loc: tuple[int | str, ...], content: Any, schema: Node) -> tuple[str, Any, Node, Node]:
    """The key as the user wrote it, what is there, and the schemas of it and of its parent.

    It stops at the last key: what an item of a list or a member of a union lacks is told of the
    whole value.
    """
    path: list[str] = []
    found, node, parent = content, schema, schema
    for part in loc:
        inside = _follow(node, schema)
        classes = inside.get("discriminator", {}).get("mapping", {})
        keys = inside.get("properties", {})
        if part in classes:  # pydantic adds the name of the class that it took
            node = {"$ref": classes[part]}
        elif isinstance(found, dict) or part in keys:
            parent = inside
            others = inside.get("additionalProperties")
            node = keys.get(part, others if isinstance(others, dict) else {})
            found = found.get(part, _ABSENT) if isinstance(found, dict) else _ABSENT
            path.append(str(part))
        else:
            break
    return ".".join(path) or "recipe", found, node, parent


def _allowed(node: Node, schema: Node) -> str:
    """A schema in words."""
    if "anyOf" in node:
        return " or ".join(_allowed(option, schema) for option in node["anyOf"])
    node = _follow(node, schema)
    if "discriminator" in node:
        return ", ".join(node["discriminator"]["mapping"])
    if "enum" in node or "const" in node:
        return ", ".join(map(str, node.get("enum", [node.get("const")])))
    kind = node.get("type", "")
    if kind == "array":
        items = node.get("prefixItems", [])
        each = items[0] if items else node.get("items", {})
        number = f"{len(items)} " if items else ""
        return f"{number}values in brackets, each {_allowed(each, schema)}"
    bounds = ", ".join(f"{word} {node[bound]}" for bound, word in _BOUNDS.items() if bound in node)
    return _TYPES.get(kind, "another value") + (f" ({bounds})" if bounds else "")


def _explain(problem: Any, path: str, found: Any, allowed: str, parent: Node) -> str:
    kind = problem["type"]
    if kind in ("extra_forbidden", "invalid_key"):
        keys = [key for key in parent.get("properties", {}) if key != "name"]
        close = difflib.get_close_matches(path.rsplit(".", 1)[-1], keys, 1)
        hint = f"did you mean {close[0]}? " if close else ""
        return f"unknown key; {hint}allowed: {', '.join(keys) or 'none'}"
    if found is _ABSENT:
        return "missing; give it a value" if kind == "missing" else _message(problem)
    if kind == "union_tag_invalid":
        found = problem["ctx"]["tag"]
    if kind == "union_tag_not_found":
        return f"found {_shown(found)} without a name, allowed: {allowed}"
    rule = _message(problem) if kind == "value_error" else f"allowed: {allowed}"
    return f"found {_shown(found)}, {rule}"


def _shown(value: Any) -> str:
    """As YAML writes it, and never so long that the rest of the line is lost."""
    text = json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= 100 else text[:97] + "..."


def _message(problem: Any) -> str:
    return str(problem["msg"].removeprefix("Value error, "))

"""A component as a recipe would have it."""

from typing import Any

from pydantic import TypeAdapter

from gantrain.core.component import Component, Table
from gantrain.core.component_schema import union


def resolve(table: Table, config: Component) -> dict[str, Any]:
    """`config` with every default filled in."""
    resolved: dict[str, Any] = TypeAdapter(union(table)).validate_python(config).model_dump()
    return resolved

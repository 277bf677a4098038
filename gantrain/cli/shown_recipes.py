"""A recipe with all its settings as YAML with comments, and a table of the everyday settings."""

from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gantrain.core.error_messages import models_in
from gantrain.core.yaml12 import dump_yaml
from gantrain.recipe.schema import Recipe

_WIDTH = 100  # of a line with its comment

# The settings that most runs change, in the order in which a newcomer meets them.
EVERYDAY = (
    "run",
    "data.train",
    "data.validation",
    "data.source",
    "data.target",
    "data.labels",
    "data.size",
    "data.resize",
    "length",
    "batch_size",
    "micro_batch_size",
    "optimizer.lr",
    "seed",
    "precision",
    "device",
    "data.workers",
    "evaluate.every",
    "evaluate.metrics",
    "evaluate.best_by",
    "previews.every",
    "checkpoint.every",
    "log_every",
    "trackers",
    "init_from",
    "dry_run",
)


def annotated(recipe: Recipe) -> str:
    """Return the whole recipe as YAML that trains the same; a comment describes each key."""
    content = recipe.dump()
    del content["name"]  # which is the file's
    return "\n".join(_lines(content, type(recipe), "")) + "\n"


def everyday_settings() -> list[tuple[str, str, str]]:
    """Return the key, its meaning and its default of each setting in EVERYDAY."""
    rows = []
    for key in EVERYDAY:
        field = _field(key)
        rows.append((key, field.description or "", _flow(field.default)))
    return rows


def _field(key: str) -> FieldInfo:
    model: type[BaseModel] = Recipe
    *parts, last = key.split(".")
    for part in parts:
        model = models_in(model.model_fields[part].annotation)[0]
    return model.model_fields[last]


def _lines(content: dict[str, object], model: type[BaseModel] | None, indent: str) -> Iterator[str]:
    for key, value in content.items():
        field = model.model_fields.get(key) if model else None
        inner = models_in(field.annotation) if field else []
        fixed_keys = set(inner[0].model_fields) if len(inner) == 1 else set()
        if isinstance(value, dict) and value and set(value) <= fixed_keys:
            yield from _commented([f"{indent}{key}:"], field)
            yield from _lines(value, inner[0], f"{indent}  ")
        else:
            yield from _commented([f"{indent}{line}" for line in _dumped(key, value)], field)


def _dumped(key: str, value: object) -> list[str]:
    """Return the lines of one key as YAML."""
    text = dump_yaml({key: value}).strip()
    is_bare = text.startswith("{")  # PyYAML writes a mapping of one plain value in braces
    return [" ".join(text[1:-1].split())] if is_bare else text.splitlines()


def _commented(lines: list[str], field: FieldInfo | None) -> list[str]:
    """Return the lines of a key with its description, behind a short line, else above."""
    comment = f"# {field.description}" if field and field.description else ""
    if not comment:
        return lines
    if len(lines) == 1 and len(lines[0]) + len(comment) + 2 <= _WIDTH:
        return [f"{lines[0]}  {comment}"]
    indent = lines[0][: len(lines[0]) - len(lines[0].lstrip())]
    return [f"{indent}{comment}", *lines]


def _flow(value: object) -> str:
    """Return a default as a user types it."""
    plain = list(value) if isinstance(value, tuple) else value
    return " ".join(_dumped("value", plain)).removeprefix("value: ")

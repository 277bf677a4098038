"""Markdown tables of a recipe's keys and of its components' options, made from the code.

A page holds a placeholder such as `<!-- generated: keys data -->`. The build replaces the
placeholder by the table, so that no page repeats a default or a description of the code.
"""

import inspect
import math
import re
import types
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gantrain.core.component import Each, OneOf, Weighted
from gantrain.data.degradations.degradation_table import DEGRADATIONS
from gantrain.losses import ADVERSARIAL, PENALTIES, PERCEPTUAL, RECONSTRUCTION
from gantrain.methods import METHODS
from gantrain.methods.adversarial_game import ExtraDiscriminator
from gantrain.networks import DISCRIMINATOR, GENERATOR, NETWORKS, STYLED_GENERATOR
from gantrain.recipe import field_types, recipe_files
from gantrain.recipe.optimizer import Optimizer
from gantrain.recipe.schema import Recipe

RECIPES = Path(__file__).parent.parent / "recipes"
PLACEHOLDER = re.compile(r"^<!-- generated: (\w+) ([\w .]+) -->$", re.M)

TABLES: dict[str, dict[str, Any]] = {
    "METHODS": METHODS,
    "GENERATORS": OneOf(NETWORKS, GENERATOR + STYLED_GENERATOR).allowed(),
    "DISCRIMINATORS": OneOf(NETWORKS, DISCRIMINATOR).allowed(),
    "ADVERSARIAL": ADVERSARIAL,
    "PENALTIES": PENALTIES,
    "DEGRADATIONS": DEGRADATIONS,
    "PERCEPTUAL": PERCEPTUAL,
    "RECONSTRUCTION": RECONSTRUCTION,
}

# Types whose rule is a function, so that the type alone does not show it; links begin in docs/.
WORDS: list[tuple[Any, str]] = [
    (field_types.Length, "[length](keys.md#lengths)"),
    (field_types.Place, "path or URL"),
    (field_types.FieldName, "name of a field"),
    (field_types.FolderName, "name"),
    (field_types.Size, "`[height, width]`"),
    (field_types.ValueRange, "`[low, high]`"),
    (field_types.Betas, "two numbers (0 or more, less than 1)"),
    (field_types.Signal, "name of a signal"),
    (field_types.Metric, "name of a [metric](evaluating.md)"),
    (field_types.Metrics, "list of [metrics](evaluating.md)"),
    (field_types.Precision, "`auto`, `bf16`, `fp32` or `fp64`"),
    (field_types.ZeroStage, "0, 1 or 2"),
    (bool, "`true` or `false`"),
    (str, "text"),
    (type(None), "`null`"),
    (int, "integer"),
    (float, "number"),
]
# Keys that the schema checks later, against the tables of components.
SPECIAL_KEYS = {
    "method": "a [method](keys.md#methods) with its options",
    "data.degrade": "a [degradation](keys.md#degradations) with its options, or a list of them",
    "stages": "list of changes",
    "phases": "settings by phase, [below](keys.md#phases)",
}


def fill_placeholders(page: str, to_docs: str = "") -> str:
    """Return a page with each placeholder replaced by what it stands for.

    to_docs: the way from the page's folder to docs/, such as `../`, for the links.
    """
    return PLACEHOLDER.sub(lambda match: with_links(WRITERS[match[1]](match[2]), to_docs), page)


def with_links(text: str, to_docs: str) -> str:
    """Return the text with links that begin in another folder than docs/."""
    return re.sub(r"\]\((?=\w+\.md)", f"]({to_docs}", text)


def keys_table(path: str) -> str:
    """Return the table of the keys of one part of a recipe.

    path: the dotted name of the part, such as `data`; `recipe` for the keys of the recipe itself.
    """
    prefix = "" if path == "recipe" else f"{path}."
    model = part_of_recipe(path)
    hints = get_type_hints(model, include_extras=True)
    rows = []
    for name, field in model.model_fields.items():
        if name in parts_of(model) or prefix + name == "name":  # the name is that of the file
            continue
        values = SPECIAL_KEYS.get(prefix + name) or describe_type(hints[name], field)
        default = "" if field.is_required() else as_code(field.default)
        rows.append((f"`{prefix}{name}`", values, default, description_of(name, field)))
    return table(("Key", "Values", "Default", "Meaning"), rows)


def description_of(name: str, field: FieldInfo) -> str:
    """Return the description of a key; a phase's settings have those of `optimizer`."""
    if field.description:
        return field.description
    of_optimizer = Optimizer.model_fields.get(name)
    return of_optimizer.description or "" if of_optimizer else ""


def part_of_recipe(path: str) -> type[BaseModel]:
    """Return the model of a part of a recipe by its dotted name."""
    if path == "recipe":
        return Recipe
    if path == "phases.NAME":
        return get_args(Recipe.model_fields["phases"].annotation)[1]
    return parts_of(Recipe)[path]


def parts_of(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Return the fields of a model that are models themselves."""
    parts = {}
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            parts[name] = field.annotation
    return parts


def components_section(table_name: str) -> str:
    """Return a heading, the docstring and the options of each component of a table."""
    names_by_class: dict[Any, list[str]] = {}
    for name, component in TABLES[table_name].items():
        names_by_class.setdefault(component, []).append(name)
    sections = []
    for component, names in names_by_class.items():
        heading = ", ".join(f"`{name}`" for name in names)
        sections.append(f"### {heading}\n\n{docstring(component)}\n\n{options_table(component)}")
    return "\n\n".join(sections)


def method_section(name: str) -> str:
    """Return the options of a method, whose keys begin with `method.`."""
    return options_table(METHODS[name], "method.")


def other_section(name: str) -> str:
    """Return the docstring and the options of a class that stands in no table."""
    others = {"more_discriminators": ExtraDiscriminator}
    return f"{docstring(others[name])}\n\n{options_table(others[name])}"


def recipes_list(method: str) -> str:
    """Return the shipped recipes of a method, with their descriptions."""
    lines = []
    for path in sorted(RECIPES.glob("*.yaml")):
        content = recipe_files.read(str(path))
        if content["method"]["name"] == method:
            lines.append(f"- `{path.stem}`: {content['description']}")
    return "\n".join(lines)


def options_table(component: Any, prefix: str = "") -> str:
    """Return the table of the options of a component: the keyword-only parameters of its
    constructor.
    """
    hints = get_type_hints(component.__init__, include_extras=True)
    meanings = split_docstring(component)[1]
    rows = []
    for name, parameter in inspect.signature(component).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            default = "" if parameter.default is parameter.empty else as_code(parameter.default)
            rows.append(
                (f"`{prefix}{name}`", describe_type(hints[name]), default, meanings.get(name, ""))
            )
    if not rows:
        return "It has no options."
    if any(row[3] for row in rows):
        return table(("Option", "Values", "Default", "Meaning"), rows)
    return table(("Option", "Values", "Default"), [row[:3] for row in rows])


def docstring(component: Any) -> str:
    """Return the docstring of a class as Markdown without its sections, and with links to arXiv."""
    text = split_docstring(component)[0]
    return re.sub(r"arXiv\s+(\d{4}\.\d{4,5})", r"[arXiv \1](https://arxiv.org/abs/\1)", text)


def split_docstring(component: Any) -> tuple[str, dict[str, str]]:
    """Return the text of a class's docstring, and the meanings of the parameters from a section
    `Args:`.

    The sections are those of Google's style. Only `Args:` is kept, since pages list the options in
    a table."""
    text, *sections = re.split(r"^(\w+):\n(?=    )", inspect.getdoc(component) or "", flags=re.M)
    meanings: dict[str, str] = {}
    for title, content in zip(sections[::2], sections[1::2], strict=True):
        if title == "Args":
            for name, meaning in re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", content, re.M):
                meanings[name] = " ".join(meaning.split())
    return text.strip(), meanings


def describe_type(hint: Any, field: FieldInfo | None = None) -> str:
    """Return in words which values a type allows.

    field: the field of the model that has the type, whose limits count too.
    """
    for known, words in WORDS:
        if hint is known or (hint == known and type(hint) is type(known)):
            return words + limits(field.metadata if field else ())
    origin = get_origin(hint)
    arguments = get_args(hint)
    if origin is Annotated:
        return describe_annotated(arguments[0], arguments[1:])
    if origin is Literal:
        return joined([as_code(value) for value in arguments])
    if origin in (Union, types.UnionType):
        return joined([describe_type(argument) for argument in arguments])
    if origin is list or (origin is tuple and arguments[-1] is Ellipsis):
        return f"list ({describe_type(arguments[0])})"
    if origin is tuple:
        return f"list of {len(arguments)} ({describe_type(arguments[0])})"
    if origin is dict:
        return f"mapping to {describe_type(arguments[1])}"
    raise TypeError(f"no words for the type {hint}")


def describe_annotated(hint: Any, extras: tuple[Any, ...]) -> str:
    """Return in words which values an annotated type allows."""
    for extra in extras:
        if isinstance(extra, OneOf):
            if get_origin(hint) is tuple:
                return f"list of {joined([f'`{name}`' for name in extra.allowed()])}"
            names = [f"`{name}`" for name in extra.allowed()]
            is_optional = type(None) in get_args(hint)
            return joined([*names, "`null`"] if is_optional else names)
        if isinstance(extra, Weighted):
            return "mapping of [losses](keys.md#reconstruction-losses) to weights"
        if isinstance(extra, Each):
            return "list of [entries](keys.md#entries-of-more-discriminators)"
    metadata = [
        limit for extra in extras if isinstance(extra, FieldInfo) for limit in extra.metadata
    ]
    return describe_type(hint) + limits(metadata)


def limits(metadata: Any) -> str:
    """Return the limits of a number in words and in brackets."""
    found = {
        key: getattr(limit, key)
        for limit in metadata
        for key in ("ge", "gt", "le", "lt")
        if hasattr(limit, key)
    }
    parts = []
    if "ge" in found and "le" in found:
        parts.append(f"{number(found['ge'])} to {number(found['le'])}")
    elif "ge" in found:
        parts.append(f"{number(found['ge'])} or more")
    elif "gt" in found:
        parts.append(f"more than {number(found['gt'])}")
    if "le" in found and "ge" not in found:
        parts.append(f"at most {number(found['le'])}")
    if "lt" in found:
        parts.append(f"less than {number(found['lt'])}")
    return f" ({', '.join(parts)})" if parts else ""


def number(value: float) -> str:
    """Return a limit as text; a large power of ten or of two as a power."""
    for base in (10, 2):
        exponent = round(math.log(value, base)) if value >= 10_000 else 0
        if exponent and base**exponent == value:
            return f"{base}<sup>{exponent}</sup>"
    return f"{value:,}"


def joined(words: list[str]) -> str:
    """Return alternatives as text: `a, b or c`."""
    if len(words) == 1:
        return words[0]
    return f"{', '.join(words[:-1])} or {words[-1]}"


def as_code(value: Any) -> str:
    """Return a value as code, in the words of a recipe."""
    return f"`{as_yaml(value)}`"


def as_yaml(value: Any) -> str:
    """Return a value in the flow style of YAML."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if value == "":
        return '""'
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {as_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(as_yaml, value)) + "]"
    return str(value)


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a Markdown table in a box of the class `keys`."""
    lines = [header, ("---",) * len(header), *rows]
    text = "\n".join(
        f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines
    )
    return f":::{{container}} keys\n{text}\n:::"


WRITERS: dict[str, Callable[[str], str]] = {
    "keys": keys_table,
    "components": components_section,
    "method": method_section,
    "options": other_section,
    "recipes": recipes_list,
}
